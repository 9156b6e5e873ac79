#!/usr/bin/env bash
# Measures POST /events/batch against the library's producer and against single POSTs, side by side on one Kafka:
# EVENTS (1000000) events of 261 bytes, ROUNDS (3) times in turn. Prints a line of JSON each, and the medians.
#
#   KAFKA_BROKERS=127.0.0.1:9092 scripts/bench-batch.sh
#
#   library   examples/produce_lines.rs: the events in memory, 4096 in flight
#   stream    the same events as NDJSON on one connection, by curl; all receipts are read
#   posts     single POSTs of such an event on 64 connections, by wrk, for SECONDS_PER_RUN (10)
#
# cpu is the processor time of the process that is measured; that of the service has its consumer in it.
# PROFILE (fastest) is what is built. Needs curl, wrk, jq.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
EVENTS=${EVENTS:-1000000} ROUNDS=${ROUNDS:-3} SECONDS_PER_RUN=${SECONDS_PER_RUN:-10} PROFILE=${PROFILE:-fastest}
brokers=${KAFKA_BROKERS:?a Kafka to use}
port=${PORT:-39180}
work=$(mktemp -d)
pid=""
stop() {
  if [ -n "$pid" ]; then
    kill "$pid"
    wait "$pid" || true
    pid=""
  fi
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
rss_of() { awk '/VmHWM/ { print $2 }' "/proc/$1/status"; }

start() {
  PORT=$port HOST=127.0.0.1 KAFKA_BROKERS=$brokers KAFKA_TOPIC=$1 KAFKA_GROUP_ID=$1 STORE_MAX_EVENTS=1000 \
    "$target/highwater" >"$work/log" 2>&1 &
  pid=$!
  until curl -sf "http://127.0.0.1:$port/ready" >/dev/null; do sleep 0.1; done
}

for round in $(seq "$ROUNDS"); do
  topic=bench-batch-$$-$round
  "$target/examples/produce_lines" "$brokers" "$topic-library" "$work/events.ndjson" |
    jq -c '{ what: "library" } + . + { rate: (.events / .seconds) }' | tee -a "$work/results"

  start "$topic-stream"
  before=$(cpu_of "$pid")
  seconds=$(curl -sS -X POST -T "$work/events.ndjson" -H 'content-type: application/x-ndjson' -o "$work/receipts" \
    -w '%{time_total}' "http://127.0.0.1:$port/events/batch")
  stored=$(grep -c '"status":201' "$work/receipts")
  [ "$stored" = "$EVENTS" ] || { echo "of $EVENTS events $stored are stored" >&2; exit 1; }
  jq -nc --argjson seconds "$seconds" --argjson events "$EVENTS" --argjson cpu "$(cpu_of "$pid")" \
    --argjson before "$before" --argjson rss "$(rss_of "$pid")" \
    '{ what: "stream", events: $events, seconds: $seconds, cpu: ($cpu - $before), rss_kib: $rss, rate: ($events / $seconds) }' |
    tee -a "$work/results"
  stop

  start "$topic-posts"
  before=$(cpu_of "$pid")
  rate=$(wrk -t2 -c64 -d"${SECONDS_PER_RUN}s" -s "$work/post.lua" "http://127.0.0.1:$port/events/generate" |
    awk '/Requests\/sec/ { print $2 }')
  jq -nc --argjson rate "$rate" --argjson cpu "$(cpu_of "$pid")" --argjson before "$before" \
    '{ what: "posts", cpu: ($cpu - $before), rate: $rate }' | tee -a "$work/results"
  stop
done

jq -s 'group_by(.what) | map({ (.[0].what): (map(.rate) | sort | .[length / 2 | floor]) }) | add
  | . + { stream_of_library: (.stream / .library), stream_of_posts: (.stream / .posts) }' "$work/results"
