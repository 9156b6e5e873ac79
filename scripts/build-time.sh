#!/usr/bin/env bash
# Measures how long a newcomer waits: of each revision, `cargo run --release` in a clean clone, with an empty target
# directory, until the service answers. One after the other, so that none takes another's processors.
#
#   scripts/build-time.sh v1.0.0 HEAD       prints a line each: wall seconds, CPU seconds (user and system), bytes
#
# Downloads are not measured: the sources of the dependencies are fetched before. Variables:
#   PORT    where the service is started (18500)
#   KEEP    a directory that the programs are left in, each named after its commit
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2; }
port=${PORT:-18500} keep=${KEEP:-}
[ -z "$keep" ] || { mkdir -p "$keep" && keep=$(realpath "$keep"); }
work=$(mktemp -d)
trap 'kill "${pid:-}" 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
unset CARGO_TARGET_DIR KAFKA_BROKERS

answers() { curl -sf -o /dev/null --max-time 2 "http://127.0.0.1:$port/health"; }

measured() { # REVISION: in a process of its own, whose children's CPU time is the build's
  local commit began wall cpu
  commit=$(git rev-parse --short "$1^{commit}")
  git clone -q --no-checkout . "$work/$commit"
  git -C "$work/$commit" checkout -q --detach "$commit"
  cd "$work/$commit"
  cargo fetch -q --locked
  began=${EPOCHREALTIME/[.,]/}
  PORT=$port HOST=127.0.0.1 RUST_LOG=error cargo run --release --locked >"$work/$commit.log" 2>&1 &
  pid=$!
  until answers; do
    kill -0 "$pid" 2>/dev/null || { echo "$commit does not start:"; tail -n 20 "$work/$commit.log"; return 1; } >&2
    sleep 0.1
  done
  wall=$(((${EPOCHREALTIME/[.,]/} - began) / 1000000))
  kill "$pid" || true
  wait "$pid" || true
  times >"$work/times" # not in a pipe, which would be another process with children of its own
  # The second line is of the children: 1m2.345s 0m6.789s.
  cpu=$(awk 'NR == 2 { for (i = 1; i <= 2; i++) { split($i, part, /[ms]/); s += part[1] * 60 + part[2] } printf "%d", s }' "$work/times")
  echo "$1 ($commit): $wall s to the first answer, $cpu s of CPU time, $(stat -c %s target/release/highwater) bytes"
  [ -z "$keep" ] || cp target/release/highwater "$keep/highwater-$commit"
  rm -rf "${work:?}/$commit"
}

if answers; then echo "port $port is taken" >&2; exit 1; fi
for revision; do (measured "$revision"); done
