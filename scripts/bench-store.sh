#!/usr/bin/env bash
# Measures the store in PostgreSQL on this machine: EVENTS events of a Kafka topic go into the same tables, by
#
#   COPY         a bare loop that COPYs rows which it has made beforehand, a connection a partition: what PostgreSQL can do
#   Highwater    the service, in a new group: each event once, a position and a claim for each partition
#   INSERT       a consumer in Rust on librdkafka, one INSERT … ON CONFLICT DO NOTHING of 500 rows a batch
#   Connect      Kafka Connect with Debezium's JDBC sink, three tasks, upsert by id; with CONNECT=1
#
# in turn, ROUNDS (3) times, each into empty tables, with PostgreSQL and Kafka beside them. Then
#
#   Growth       Highwater stores GROW (10) times as many in empty tables: the rate of each EVENTS of them
#   Pages        and is asked for pages of 100 of these, by each filter and by two together, at three depths
#
# Prints tables in Markdown: medians of the rounds. Time runs from the first stored batch to the last; CPU time is of all of
# it, PostgreSQL's beside that of the program. That each event is there once is counted afterwards.
#
#   scripts/bench-store.sh                  some twenty minutes, and the builds
#   EVENTS=100000 scripts/bench-store.sh    a look
#   CONNECT=1 scripts/bench-store.sh        with Kafka Connect, which Kafka 4.1.0 brings; Maven brings the sink
#   COLD=1 scripts/bench-store.sh           each kind of page also with nothing of the database in memory
#
#   HIGHWATER           a binary to measure; otherwise one of profile fastest is built
#   EVENTS              1000000
#   ONLY                a regular expression: only those whose name it matches; Pages come with Growth
#   PAGES               41: how many pages of each kind
#   POSTGRES_SETTINGS   of PostgreSQL, as `name=value name=value`; by default what docs/operating/store.md recommends
#   KEEP                set, PostgreSQL, Kafka and what they hold stay, and their addresses are printed
#   RESULTS             the file that each measurement is added to as a line of JSON
#   PORT                29100: PostgreSQL's, and 10 above it Kafka's
#
# Needs kcat, curl, jq, psql, python3; what scripts/kafka.sh, scripts/postgres.sh and bench/store/build.sh need.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

EVENTS=${EVENTS:-1000000} ROUNDS=${ROUNDS:-3} GROW=${GROW:-10} PORT=${PORT:-29100} ONLY=${ONLY:-}
export POSTGRES_SETTINGS=${POSTGRES_SETTINGS-shared_buffers=1GB max_wal_size=4GB checkpoint_timeout=15min wal_compression=lz4}
target_dir=$(cd "$root" && realpath -m "${CARGO_TARGET_DIR:-target}")
unset CARGO_TARGET_DIR # the peers have their own
RESULTS=$(realpath -m "${RESULTS:-$target_dir/bench/store-$(date +%Y%m%d-%H%M%S).jsonl}")
kafka_port=$((PORT + 10))
work=$(mktemp -d)
pid="" answers="" asks=""

say() { echo "bench-store.sh: $*" >&2; }
kafka() { KAFKA_JVM="" "$root/scripts/kafka.sh" "$@"; }
postgres() { "$root/scripts/postgres.sh" "$@"; }
sql() { postgres psql "$PORT" -At -c "$1"; }
now() { echo "${EPOCHREALTIME/[.,]/}"; } # microseconds

ended() {
  local status=$?
  trap - EXIT
  stop || true
  if [ -n "${KEEP:-}" ]; then
    say "STORE_URL=${STORE_URL:-} KAFKA_BROKERS=${KAFKA_BROKERS:-}"
  else
    kafka stop "$kafka_port" || true
    postgres stop "$PORT" || true
  fi
  rm -rf "$work"
  exit "$status"
}
trap ended EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

stop() {
  [ -z "$pid" ] || { kill "$pid" && wait "$pid"; } 2>/dev/null || true
  pid=""
}

# --- what is asked -------------------------------------------------------------------------------

# cpu_ms PID: the CPU time of a process and of the children that it has waited for.
cpu_ms() {
  local stat field
  read -r stat <"/proc/$1/stat" || return
  read -r -a field <<<"${stat##*) }"
  echo $(((field[11] + field[12] + field[13] + field[14]) * 10))
} 2>/dev/null

# postgres_cpu_ms: of all its processes, those that have ended included.
postgres_cpu_ms() {
  local postmaster sum=0 each process
  postmaster=$(head -n 1 "$data/postmaster.pid")
  for process in "$postmaster" $(pgrep -P "$postmaster"); do
    each=$(cpu_ms "$process" || true)
    sum=$((sum + ${each:-0}))
  done
  echo "$sum"
}

# A session that is asked again and again, without a new connection each time.
open_session() {
  coproc session { postgres psql "$PORT" -At -q; }
  answers=${session[0]} asks=${session[1]}
}
ask() { # SQL: sets `answer` to a number
  echo "$1" >&"$asks"
  read -r answer <&"$answers"
}

wal() { sql "SELECT pg_current_wal_lsn() - '0/0'"; }

# until_stored EVENTS SQL: waits until SQL, a number, says so; sets `first` and `last` to the moments at which the first
# and the last were seen, and records on the way when each further EVENTS were reached, with PostgreSQL's CPU time.
until_stored() {
  local mark=$EVENTS end=$(($(now) + 3600 * 1000000))
  first=""
  while :; do
    ask "$2"
    last=$(now)
    [ -n "$first" ] || ((answer == 0)) || first=$last
    if ((answer >= mark && $1 > EVENTS)); then
      record grown "{\"events\": $answer, \"at\": $last, \"cpu_ms\": $(cpu_ms "$pid"), \"postgres_cpu_ms\": $(postgres_cpu_ms), \"wal_bytes\": $(wal)}"
      mark=$((mark + EVENTS))
    fi
    ((answer < $1)) || return 0
    kill -0 "$pid" 2>/dev/null || { say "$who ended by itself"; tail -n 5 "$work/log" >&2; return 1; }
    ((last < end)) || { say "$who is not done within an hour: $answer events"; return 1; }
    sleep 0.05
  done
}

record() { # WHAT NUMBERS, a JSON object
  jq -cn --arg who "$who" --argjson round "$round" --arg what "$1" --argjson numbers "$2" \
    '{who: $who, round: $round, what: $what} + $numbers' | tee -a "$RESULTS" |
    jq -r '[.who, .what] + [to_entries[3:][] | "\(.key) \(.value)"] | join(" · ")' >&2
}

# --- who takes part --------------------------------------------------------------------------------

by_itself() { # PROGRAM: it ends when it has stored all, and tells its times
  local line
  EVENTS=$total KAFKA_TOPIC=$topic KAFKA_GROUP_ID=$who-$round-$$ "$root/bench/store/target/release/$1" >"$work/line" &
  pid=$!
  wait "$pid" || { say "$who failed"; return 1; }
  pid=""
  line=$(cat "$work/line")
  micros=$(jq '.seconds * 1e6 | round' <<<"$line") cpu=$(jq '.cpu_seconds * 1e3 | round' <<<"$line")
}

by_highwater() {
  env PORT=$((PORT + 1)) HOST=127.0.0.1 KAFKA_TOPIC="$topic" KAFKA_GROUP_ID="$who-$round-$$" "$HIGHWATER" >"$work/log" 2>&1 &
  pid=$!
  until_stored "$total" "SELECT coalesce(sum(next), 0) FROM highwater.partitions;" || return 1
  micros=$((last - first)) cpu=$(cpu_ms "$pid")
  ((total > EVENTS)) || stop # what has grown is asked for pages
}

by_connect() {
  local jars sink=$root/bench/store/connect/target
  jars=$(dirname "$(find "${HIGHWATER_KAFKA_HOME:-$HOME/.cache/highwater-kafka}/jars/4.1.0" -name 'connect-runtime-*.jar')")
  cat >"$work/worker.properties" <<END
bootstrap.servers=$KAFKA_BROKERS
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
offset.storage.file.filename=$work/offsets
connector.client.config.override.policy=All
listeners=http://127.0.0.1:$((PORT + 2))
END
  cat >"$work/sink.properties" <<END
name=sink-$round-$$
connector.class=io.debezium.connector.jdbc.JdbcSinkConnector
tasks.max=3
topics=$topic-connect
consumer.override.auto.offset.reset=earliest
consumer.override.max.poll.records=3000
connection.url=jdbc:postgresql://127.0.0.1:$PORT/highwater?reWriteBatchedInserts=true&stringtype=unspecified
connection.username=highwater
connection.password=highwater
insert.mode=upsert
primary.key.mode=record_value
primary.key.fields=id
batch.size=3000
schema.evolution=none
collection.name.format=highwater.events
transforms=position
transforms.position.type=org.apache.kafka.connect.transforms.InsertField\$Value
transforms.position.partition.field=partition
transforms.position.offset.field=position
END
  java -Xmx1g -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$jars/*:$sink/*" \
    org.apache.kafka.connect.cli.ConnectStandalone "$work/worker.properties" "$work/sink.properties" >"$work/log" 2>&1 &
  pid=$!
  until_stored "$total" "SELECT count(*) FROM highwater.events;" || return 1
  micros=$((last - first)) cpu=$(cpu_ms "$pid")
  stop
}

measure() { # HOW ARGUMENTS...
  local before_cpu before_wal counted ids bytes
  sql "DROP SCHEMA IF EXISTS highwater CASCADE" >/dev/null
  env KAFKA_TOPIC="$topic" "$HIGHWATER" migrate >"$work/migrate" 2>&1 || { cat "$work/migrate" >&2; return 1; }
  sql CHECKPOINT >/dev/null
  before_cpu=$(postgres_cpu_ms) before_wal=$(wal)
  "$@" || return 1
  sleep 1 # the time of processes of PostgreSQL that end just now is in neither of the two that are added
  local postgres_cpu=$(($(postgres_cpu_ms) - before_cpu)) wal_bytes=$(($(wal) - before_wal))
  IFS='|' read -r counted ids bytes < <(sql "SELECT count(*), count(DISTINCT id), pg_total_relation_size('highwater.events') FROM highwater.events")
  if [ "$counted" != "$total" ] || [ "$ids" != "$counted" ]; then
    say "$who stored $counted events of $ids ids: not measured"
    return 1
  fi
  record stored "$(jq -cn "{events: $counted, seconds: ($micros / 1e6), cpu_ms: $cpu, postgres_cpu_ms: $postgres_cpu,
    wal_bytes: $wal_bytes, bytes: $bytes}")"
}

takes_part() { # NAME
  who=$1
  [[ $1 =~ $ONLY ]]
}

# --- what there is to consume ------------------------------------------------------------------------

fill_topic() { # TOPIC, events on standard input
  kafka tool "$kafka_port" topics --create --topic "$1" --partitions 3 >/dev/null
  kcat -P -q -b "$KAFKA_BROKERS" -t "$1" -K "$(printf '\t')" -X partitioner=murmur2_random -X acks=all -X linger.ms=50 -z lz4
}
events() { awk -v EVENTS="$total" -v RARE=10007 -v JITTER=2000 -f "$root/bench/events.awk"; }

for command in kcat curl jq psql pgrep python3; do
  command -v "$command" >/dev/null || { say "needs $command"; exit 1; }
done
mkdir -p "$(dirname "$RESULTS")"
if [ -z "${HIGHWATER:-}" ]; then
  say "building Highwater"
  target=$("$root/scripts/musl-target.sh")
  (cd "$root" && cargo build --profile fastest --locked --no-default-features --features postgres,tls --target "$target" --target-dir "$target_dir" >&2)
  HIGHWATER=$target_dir/$target/fastest/highwater
fi
if takes_part COPY || takes_part INSERT; then
  say "building the others"
  "$root/bench/store/build.sh" >"$work/build.log" 2>&1 || { tail -n 5 "$work/build.log" >&2; exit 1; }
fi

STORE_URL=$(postgres start "$PORT")
KAFKA_BROKERS=$(KAFKA_HEAP=${KAFKA_HEAP:-1g} kafka start "${KAFKA_VERSION:-4.1.0}" "$kafka_port" 1)
export STORE_URL KAFKA_BROKERS
data=$(dirname "$(postgres log "$PORT")")/data
topic=bench-store total=$EVENTS
open_session
say "writing $total events to the topic"
events | fill_topic "$topic"
if [ -n "${CONNECT:-}" ]; then
  mvn -q -B -f "$root/bench/store/connect/pom.xml" dependency:copy-dependencies -DoutputDirectory=target >&2
  events | awk -f "$root/bench/store/connect.awk" | fill_topic "$topic-connect"
fi
round=0
who=machine record machine "$(jq -cn --argjson cores "$(nproc)" \
  --arg cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" --arg kernel "$(uname -sr)" \
  --arg postgres "$(sql 'SHOW server_version')" --arg settings "$POSTGRES_SETTINGS" --arg kafka "${KAFKA_VERSION:-4.1.0}" \
  --arg day "$(date +%F)" --arg commit "$(git -C "$root" rev-parse --short HEAD 2>/dev/null || true)" '$ARGS.named')"

for round in $(seq "$ROUNDS"); do
  if takes_part COPY; then measure by_itself copy-loop; fi
  if takes_part Highwater; then measure by_highwater; fi
  if takes_part INSERT; then measure by_itself librdkafka-insert; fi
  if [ -n "${CONNECT:-}" ] && takes_part Connect; then measure by_connect; fi
done

if ((GROW > 1)) && takes_part Growth; then
  topic=bench-store-grown total=$((EVENTS * GROW))
  say "writing $total events to the topic"
  events | fill_topic "$topic"
  who="Highwater, $total"
  measure by_highwater
  pages() { python3 "$root/bench/store/pages.py" "http://127.0.0.1:$((PORT + 1))" "$1"; }
  pages "${PAGES:-41}" >"$work/pages"
  if [ -n "${COLD:-}" ]; then
    postgres restart "$PORT" >&2
    for _ in $(seq 100); do
      curl -sf -o "$work/page" "http://127.0.0.1:$((PORT + 1))/events/processed?limit=1" && break
      sleep 0.1
    done
    sync
    find "$data/base" -type f -exec dd if={} iflag=nocache count=0 status=none \;
    { echo; echo "PostgreSQL started anew, nothing in memory:"; echo; pages 5; } >>"$work/pages"
  fi
fi

jq -rsf "$root/bench/store/table.jq" "$RESULTS"
[ ! -e "$work/pages" ] || { echo; cat "$work/pages"; }
say "each measurement: $RESULTS"
