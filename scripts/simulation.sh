#!/usr/bin/env bash
# A world in one process (docs/internals/simulation.md): the library's producers, consumers and groups with the embedded
# broker, on simulated time and a simulated network, under faults drawn from a seed.
#
#   scripts/simulation.sh                        two simulated hours, from a new seed on, which is printed
#   HOURS=1000 PROFILE=fastest scripts/simulation.sh
#   MINUTES=5 scripts/simulation.sh              for so many real minutes, from a new seed on
#   SEED=4711 scripts/simulation.sh              from that seed on
#   SEED=4711 scripts/simulation.sh episode      that seed alone: its faults, and how it went; with the arguments
#                                                trace=FILE and log the trace and the library's log lines as well
#   SEED=4711 scripts/simulation.sh shrink       the faults that its violation needs
#   SABOTAGE=lease-twice-as-long scripts/simulation.sh
#                                                a copy with a deliberate fault: is it caught, and after how long?
#   SABOTAGE=all scripts/simulation.sh           a table of all deliberate faults
#
# It exits with 0 when every guarantee held (or each deliberate fault was caught), 1 when one was broken. Variables:
#
#   HOURS      simulated hours (2; with SABOTAGE 10)
#   SEED       the first seed; unset, one is drawn
#   PROFILE    of cargo (test, which is not optimized)
#   FEATURES   what else to build in, to take what was built with it
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${PROFILE:-test}
faults=(crates/kafka/tests/simulation/sabotage/*.patch)
# Of those of the chaos run, the ones in the library that a run brings to light.
for patch in tests/chaos/sabotage/*.patch; do
  if ! grep -q '^Caught by the test ' "$patch" && ! git apply --numstat "$patch" | grep -qv $'\tcrates/kafka/'; then
    faults+=("$patch")
  fi
done

build() { # DIRECTORY ARGUMENT…: the program
  local built
  built=$(cd "$1" && shift && cargo test --locked --no-run --profile "$profile" --test simulation "$@" 2>&1) ||
    { echo "$built" >&2; return 2; }
  sed -n 's/^ *Executable .*simulation.*(\(.*\))$/\1/p' <<<"$built"
}

sabotaged() { # PATCH: whether the fault is caught, in a copy of the tree with a target directory of its own
  local kept tree program found
  kept=$(realpath -m "${CARGO_TARGET_DIR:-target}")/sabotage
  tree=$kept/simulation
  rm -rf "$tree"
  mkdir -p "$tree"
  git ls-files -z | tar -c --null -T - | tar -x -C "$tree"
  # The copies keep their times, so that cargo builds little; what the patch of an earlier run had changed is new again.
  git apply --numstat "${faults[@]}" | cut -f 3 | sort -u | (cd "$tree" && xargs touch)
  # Without a repository above it, the paths are those of the copy.
  GIT_CEILING_DIRECTORIES=$kept git -C "$tree" apply "$PWD/$1"
  program=$(CARGO_TARGET_DIR=$kept/target build "$tree" ${FEATURES:+--features "$FEATURES"})
  found=$("$program" caught "${HOURS:-10}" "${SEED:-1}" 2>&1) || true
  found=$(sed -n 's/^simulation: seed \([0-9]*\), after \([0-9.]* hours\): \([A-Za-z]*\).*/\2 | seed \1 | \3/p' <<<"$found")
  printf '| %s | %s |\n' "$(basename "$1" .patch)" "${found:-not caught | |}"
  [ -n "$found" ]
}

if [ -n "${SABOTAGE:-}" ]; then
  missed=0
  echo "| deliberate fault | caught after | by | what it broke |"
  echo "|---|---|---|---|"
  for patch in "${faults[@]}"; do
    case $SABOTAGE in
      all | "$(basename "$patch" .patch)") sabotaged "$patch" || missed=1 ;;
    esac
  done
  exit "$missed"
fi

program=$(build . ${FEATURES:+--features "$FEATURES"})
case ${1:-hours} in
  hours)
    if [ -n "${MINUTES:-}" ]; then
      "$program" minutes "$MINUTES"
    else
      "$program" hours "${HOURS:-2}" ${SEED:+"$SEED"}
    fi
    ;;
  *) "$program" "$1" "$SEED" "${@:2}" ;;
esac
