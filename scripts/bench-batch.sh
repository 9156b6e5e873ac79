#!/usr/bin/env bash
# Measures POST /events/batch against the library's producer and against single POSTs, side by side on one Kafka:
# EVENTS (1000000) events of 261 bytes, ROUNDS (3) times in turn. Prints a line of JSON each, and the medians.
#
#   KAFKA_BROKERS=127.0.0.1:9092 scripts/bench-batch.sh
#
#   library   examples/produce_lines.rs: the events in memory, 4096 in flight
#   stream    the same events as NDJSON on one connection, by curl; all receipts are read. As the library does, the service
#             only produces: it logs no events, and instances elsewhere have the partitions (they are here, and suspended)
#   logged    the same with a log line an event
#   whole     the service as it is alone: it logs, consumes and stores the events meanwhile
#   posts     single POSTs of such an event on 64 connections, by wrk, for SECONDS_PER_RUN (10), to the service alone
#
# ONLY names some of these. A stream has the events TIMES (1) times over. cpu is the processor time of the process that is
# measured, rss_mib its memory at ten moments of a stream, in order. PROFILE (fastest) is what is built. Uses PORT (39180) and
# the next three. Needs curl, wrk, jq.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
EVENTS=${EVENTS:-1000000} ROUNDS=${ROUNDS:-3} SECONDS_PER_RUN=${SECONDS_PER_RUN:-10} PROFILE=${PROFILE:-fastest} TIMES=${TIMES:-1}
brokers=${KAFKA_BROKERS:?a Kafka to use}
port=${PORT:-39180} only=${ONLY:-library stream logged whole posts}
work=$(mktemp -d)
pid="" others=()
stop() {
  if [ -n "$pid" ]; then
    kill "$pid"
    wait "$pid" || true
    pid=""
  fi
  for other in "${others[@]}"; do
    kill -KILL "$other"
    wait "$other" 2>/dev/null || true
  done
  others=()
}
trap 'stop; rm -rf "$work"' EXIT

cargo build --locked --profile "$PROFILE" --bin highwater --example produce_lines >&2
target=${CARGO_TARGET_DIR:-target}/$([ "$PROFILE" = dev ] && echo debug || echo "$PROFILE")

payload=$(printf 'x%.0s' $(seq 135))
awk -v events="$EVENTS" -v payload="$payload" 'BEGIN {
  for (i = 0; i < events; i++)
    printf "{\"eventId\":\"%08x-0000-4000-8000-%012x\",\"userId\":\"user-%06d\",\"eventType\":\"LOGIN\",\"payload\":{\"n\":%9d,\"s\":\"%s\"}}\n",
      i, i, i % 1000, i, substr(payload, 1, 135)
}' >"$work/events.ndjson"
head -c 400 "$work/events.ndjson" | head -1 | awk '{ print "bytes of an event: " length($0) }' >&2
body=$(head -1 "$work/events.ndjson" | sed 's/"eventId":"[^"]*",//')
cat >"$work/post.lua" <<LUA
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [[$body]]
LUA

cpu_of() { awk -v ticks="$(getconf CLK_TCK)" '{ print ($14 + $15) / ticks }' "/proc/$1/stat"; }

report() { tee -a "$work/results"; }

start() { # TOPIC PORT [NAME=VALUE...]
  env PORT="$2" HOST=127.0.0.1 KAFKA_BROKERS="$brokers" KAFKA_TOPIC="$1" KAFKA_GROUP_ID="$1" STORE_MAX_EVENTS=1000 "${@:3}" \
    "$target/highwater" >"$work/log-$2" 2>&1 &
  pid=$!
  until curl -sf "http://127.0.0.1:$2/ready" >/dev/null; do sleep 0.1; done
}

# How many partitions the service has whose port that is.
partitions() { curl -sf "http://127.0.0.1:$1/health" | jq '.group.partitions | length'; }

# Has three other instances take the three partitions of the topic, and suspends them.
elsewhere() {
  for at in 1 2 3; do
    start "$1" $((port + at)) KAFKA_SESSION_TIMEOUT=10m KAFKA_REBALANCE_TIMEOUT=20m KAFKA_HEARTBEAT_INTERVAL=100ms
    others+=("$pid")
  done
  pid=""
}
suspend() {
  until [ "$(partitions "$port")$(partitions $((port + 1)))$(partitions $((port + 2)))$(partitions $((port + 3)))" = 0111 ]; do
    sleep 0.1
  done
  kill -STOP "${others[@]}"
}

stream() { # NAME TOPIC: sends all events, and prints what it took
  local before samples=() seconds stored curl from=$work/events.ndjson events=$((EVENTS * TIMES))
  [ "$TIMES" = 1 ] || from=-
  before=$(cpu_of "$pid")
  curl -sS -X POST -T "$from" -H 'content-type: application/x-ndjson' -o "$work/receipts" -w '%{time_total}' \
    "http://127.0.0.1:$port/events/batch" >"$work/seconds" < <(for _ in $(seq "$TIMES"); do cat "$work/events.ndjson"; done) &
  curl=$!
  while kill -0 "$curl" 2>/dev/null; do
    samples+=("$(awk '/VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$pid/status")")
    sleep 0.2
  done
  wait "$curl"
  seconds=$(cat "$work/seconds")
  stored=$(grep -c '"status":201' "$work/receipts")
  [ "$stored" = "$events" ] || { echo "of $events events $stored are stored" >&2; exit 1; }
  jq -nc --arg what "$1" --argjson seconds "$seconds" --argjson events "$events" --argjson cpu "$(cpu_of "$pid")" \
    --argjson before "$before" --argjson rss "[$(IFS=,; echo "${samples[*]}")]" \
    '{ what: $what, events: $events, seconds: $seconds, cpu: ($cpu - $before), rate: ($events / $seconds),
       rss_mib: ($rss | length as $n | [range(1; 11) as $tenth | .[($n - 1) * $tenth / 10 | floor]]) }' | report
}

for round in $(seq "$ROUNDS"); do
  for what in $only; do
    topic=bench-batch-$$-$round-$what
    case $what in
      library)
        "$target/examples/produce_lines" "$brokers" "$topic" "$work/events.ndjson" |
          jq -c '{ what: "library" } + . + { rate: (.events / .seconds) }' | report
        ;;
      stream | logged)
        elsewhere "$topic"
        start "$topic" "$port" LOG_EVENTS="$([ "$what" = logged ] && echo all || echo none)"
        suspend
        stream "$what"
        ;;
      whole)
        start "$topic" "$port"
        stream "$what"
        ;;
      posts)
        start "$topic" "$port"
        before=$(cpu_of "$pid")
        rate=$(wrk -t2 -c64 -d"${SECONDS_PER_RUN}s" -s "$work/post.lua" "http://127.0.0.1:$port/events/generate" |
          awk '/Requests\/sec/ { print $2 }')
        jq -nc --argjson rate "$rate" --argjson cpu "$(cpu_of "$pid")" --argjson before "$before" \
          '{ what: "posts", cpu: ($cpu - $before), rate: $rate }' | report
        ;;
    esac
    stop
  done
done

jq -s 'def ratio($of): if . and $of then . / $of else null end;
  group_by(.what) | map({ (.[0].what): (map(.rate) | sort | .[length / 2 | floor]) }) | add
  | . + { stream_of_library: (.library as $it | .stream | ratio($it)), whole_of_library: (.library as $it | .whole | ratio($it)),
          whole_of_posts: (.posts as $it | .whole | ratio($it)) }' "$work/results"
