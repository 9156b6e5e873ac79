#!/usr/bin/env bash
# The image's binary for arm64, built and tried on x86-64: it runs under QEMU's emulation of the processor, beside a real
# Kafka that demands TLS and a password, and serves HTTPS. Its assembly, its C, its allocator and its atomics are thereby
# executed, once on an ARMv8.0 with pages of 4 KB, and once on the newest processor that QEMU has with pages of 64 KB.
# Memory is ordered as on x86-64, so an order that only a real arm64 has is not tried. Prints PASS or FAIL a step; exit
# code 0 when all passed, else 1.
#
#   scripts/arm64.sh           builds the binary first, some minutes
#   scripts/arm64.sh BINARY    that binary
#   KAFKA_VERSION=3.4.1 KAFKA_PORT=29192 scripts/arm64.sh
#
# Needs curl, jq, and what scripts/kafka.sh needs; installs kcat and QEMU by apt-get where they are missing.
set -euo pipefail
cd "$(dirname "$0")/.."
kafka_port=${KAFKA_PORT:-29192}

# shellcheck source=scripts/need.sh
. scripts/need.sh
# shellcheck source=scripts/scratch.sh
. scripts/scratch.sh
# shellcheck source=scripts/steps.sh
. scripts/steps.sh

need curl=curl jq=jq kcat=kcat qemu-aarch64-static=qemu-user-static

binary=$(realpath -m "${1:-${CARGO_TARGET_DIR:-target}/aarch64-unknown-linux-musl/image/highwater}")
[ $# -gt 0 ] || ARCH=aarch64 scripts/static-binary.sh

# Where no .env is.
highwater() { cd "$work" && exec env "${settings[@]}" qemu-aarch64-static -cpu "$cpu" -p "$page" "$binary" "$@"; }
version() { (highwater --version) >"$work/body" 2>&1 && grep -q '^highwater ' "$work/body"; }
selftest() { (highwater selftest) >"$work/body" 2>&1 && tail -n 1 "$work/body" | grep -qx '[1-9][0-9]* passed, 0 failed'; }
posts() {
  post /events/generate '{"userId":"ann","eventType":"LOGIN","payload":{"score":1.0}}'
  [ "$status" = 201 ] && is 200 "/events/processed/$(jq -r .eventId "$work/body")?wait=10s" && body '.payload.score == 1'
}
reads() { # CODEC: records that another client has compressed
  sent=$((sent + 1000))
  awk -v FIRST="$((sent - 1000))" -v EVENTS="$sent" -f bench/events.awk >"$work/events"
  kcat -P -q -b "127.0.0.1:$kafka_port" -t user-activity-events -K "$(printf '\t')" -z "$1" -l "$work/events"
  is 200 "/events/processed/$(tail -n 1 "$work/events" | cut -f 2 | jq -r .eventId)?wait=10s"
}
ends() { kill -TERM "$service" && wait "$service"; }

end_too() { scripts/kafka.sh stop "$kafka_port"; }
KAFKA_SECURITY=1 scripts/kafka.sh start "${KAFKA_VERSION:-4.1.0}" "$kafka_port" >/dev/null
secrets=$(scripts/kafka.sh secrets "$kafka_port")
port=$(free_port)
base=https://127.0.0.1:$port
export CURL_CA_BUNDLE=$secrets/ca.pem
settings=("PORT=$port" HOST=127.0.0.1 "KAFKA_BROKERS=127.0.0.1:$((kafka_port + 30))" KAFKA_SECURITY_PROTOCOL=SASL_SSL
  KAFKA_SASL_MECHANISM=SCRAM-SHA-512 KAFKA_SASL_USERNAME=highwater "KAFKA_SASL_PASSWORD_FILE=$secrets/password"
  "KAFKA_SSL_CA=$secrets/ca.pem" "HTTPS_CERTIFICATE=$secrets/broker.crt" "HTTPS_KEY=$secrets/broker.key")

sent=0
for machine in "cortex-a53 4096" "max 65536"; do
  read -r cpu page <<<"$machine"
  echo "# processor $cpu, pages of $page bytes"
  step "it says its version" version
  sed 's/^/      /' "$work/body"
  highwater >"$work/service.log" 2>&1 &
  service=$!
  pids+=("$service")
  step "it is ready" within 60 is 200 /ready
  step "it is healthy" is 200 /health
  step "an event, from POST to GET" posts
  for codec in gzip snappy lz4 zstd; do step "records that are compressed by $codec are read" reads "$codec"; done
  step "it tries itself: highwater selftest" selftest
  tail -n 1 "$work/body" | sed 's/^/      /'
  step "SIGTERM ends it in order" ends
done

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
