#!/usr/bin/env bash
# The proof of the guarantees (docs/guarantees.md): instances of the service on a real cluster of three
# brokers, under constant posting and under faults drawn from a seed, everything recorded and checked.
# It needs what scripts/kafka.sh needs, and kcat.
#
#   scripts/chaos.sh                                     one minute on Kafka 4.1.0
#   MINUTES=10 KAFKA_VERSION=3.4.1 ASSIGNOR=range scripts/chaos.sh
#   MINUTES=10 PROTOCOL=consumer scripts/chaos.sh        with a live upgrade from the classic protocol
#   SEED=4711 scripts/chaos.sh                           the faults of that seed again
#   PROFILE=release RATE=100 LINES=4000 scripts/chaos.sh many more events, most of them in streams
#   STORE=postgres scripts/chaos.sh                      all instances on one PostgreSQL, which has faults, too
#   SABOTAGE=no-fencing scripts/chaos.sh                 a copy with a deliberate fault: is it caught?
#
# It prints each fault, at the end the history's figures and the seed, and exits with 0 when every
# guarantee held, 1 when one was broken (or a deliberate fault was not caught as what it is), 2 when the
# run could not be finished. Variables:
#
#   SEED           which faults come when; unset, one is drawn and printed
#   MINUTES        how long faults are drawn (1); the quiet point after the last of them comes on top
#   KAFKA_VERSION  3.4.1 or 4.1.0 (4.1.0)
#   KAFKA_PORT     the first of the ports that scripts/kafka.sh uses (29300)
#   STORE          memory or postgres (memory); postgres needs what scripts/postgres.sh needs
#   POSTGRES_PORT  where scripts/postgres.sh starts it (25433)
#   PROTOCOL       classic or consumer (classic); consumer begins as classic and is upgraded first of all
#   ASSIGNOR       range, cooperative-sticky or both, as KAFKA_PARTITION_ASSIGNMENT_STRATEGY takes them
#   INSTANCES      of the service (3)
#   CLIENTS        that post, each one event after the other (48)
#   RATE           posts a second, all of them together (400)
#   STREAMS        clients that post streams of events and read their receipts (16)
#   LINES          events a second, all streams together (400)
#   PARTITIONS     of the topic at first (6)
#   FAULTS         only these kinds, with commas between them: kill-instance, pause-instance, cut,
#                  cut-from-coordinator, delay, churn, guest, kill-broker, move-broker, pause-broker,
#                  elect, partitions, quota, roll, recreate (all); with STORE=postgres also kill-database,
#                  pause-database, restart-database, cut-database, replay, rebuild
#   UNCLEAN        no leaves out the unclean election at the end
#   SABOTAGE       a patch of tests/chaos/sabotage without its ending: it breaks one guarantee in a copy of
#                  the tree, which is built in a target directory of its own; the run passes when that
#                  violation is reported and no other
#   PROFILE        of cargo (test, which is not optimized)
#   FEATURES       what else to build in, to take what was built with it
#   DIRECTORY      for the history and the instances' logs (a new one in the directory for temporary files)
set -euo pipefail
cd "$(dirname "$0")/.."

export KAFKA_VERSION=${KAFKA_VERSION:-4.1.0} KAFKA_PORT=${KAFKA_PORT:-29300}
export STORE=${STORE:-memory} POSTGRES_PORT=${POSTGRES_PORT:-25433} DIRECTORY=${DIRECTORY:-}
[ -n "$DIRECTORY" ] || DIRECTORY=$(mktemp -d "${TMPDIR:-/tmp}/highwater-chaos-XXXXXX")

command -v kcat >/dev/null || { echo "chaos.sh: needs kcat (apt-get install kcat)" >&2; exit 2; }

# Sessions short enough that a minute sees several of them end; a follower that lags for longer is out of sync.
export KAFKA_SETTINGS="replica.lag.time.max.ms=5000 broker.session.timeout.ms=6000 \
zookeeper.session.timeout.ms=6000 group.consumer.min.session.timeout.ms=6000 \
group.consumer.session.timeout.ms=6000 group.consumer.min.heartbeat.interval.ms=1000 \
group.consumer.heartbeat.interval.ms=1000 ${KAFKA_SETTINGS:-}"

tree=.
if [ -n "${SABOTAGE:-}" ]; then
  patches=tests/chaos/sabotage patch=$PWD/tests/chaos/sabotage/$SABOTAGE.patch
  [ -f "$patch" ] || { echo "SABOTAGE=$SABOTAGE: not one of" "$patches"/*.patch >&2; exit 2; }
  kept=$(realpath -m "${CARGO_TARGET_DIR:-target}")/sabotage
  tree=$kept/tree
  rm -rf "$tree"
  mkdir -p "$tree"
  git ls-files -z | tar -c --null -T - | tar -x -C "$tree"
  # The copies keep their times, so that cargo builds little; what the patch of an earlier run had changed is new again.
  git apply --numstat "$patches"/*.patch | cut -f 3 | (cd "$tree" && xargs touch)
  # Without a repository above it, the paths are those of the copy.
  GIT_CEILING_DIRECTORIES=$kept git -C "$tree" apply "$patch"
  export CARGO_TARGET_DIR=$kept/target
  # What no fault brings to light for certain, a test does.
  test=$(sed -n 's/^Caught by the test //p' "$patch")
  if [ -n "$test" ]; then
    TEST_POSTGRES_URL=$(scripts/postgres.sh start "$POSTGRES_PORT")
    export TEST_POSTGRES_URL TEST_MUST_RUN=postgres
    trap 'scripts/postgres.sh stop "$POSTGRES_PORT"' EXIT
    (cd "$tree" && cargo test --no-run --test integration --features "${FEATURES:-}") || exit 2
    if (cd "$tree" && cargo test --test integration --features "${FEATURES:-}" -- --exact "$test"); then
      echo "NOT CAUGHT: $SABOTAGE by the test $test"
      exit 1
    fi
    echo "CAUGHT: $SABOTAGE by the test $test"
    exit 0
  fi
fi
built=$(cd "$tree" && cargo test --no-run --profile "${PROFILE:-test}" --test chaos --features "${FEATURES:-}" 2>&1) ||
  { echo "$built" >&2; exit 2; }
program=$(sed -n 's/^ *Executable .*chaos.*(\(.*\))$/\1/p' <<<"$built")
# Copies: a build that comes meanwhile changes nothing in this run.
mkdir -p "$DIRECTORY"
cp "$program" "$DIRECTORY/chaos"
cp "$(dirname "$program")/../highwater" "$DIRECTORY/highwater"
export HIGHWATER=$DIRECTORY/highwater

scripts/kafka.sh start "$KAFKA_VERSION" "$KAFKA_PORT" 3 >/dev/null
# Only now: a cluster that was there before is another's. So with the database.
trap 'scripts/kafka.sh stop "$KAFKA_PORT"' EXIT
if [ "$STORE" = postgres ]; then
  STORE_URL=$(scripts/postgres.sh start "$POSTGRES_PORT")
  export STORE_URL
  trap 'scripts/kafka.sh stop "$KAFKA_PORT"; scripts/postgres.sh stop "$POSTGRES_PORT"' EXIT
fi
"$DIRECTORY/chaos"
