#!/usr/bin/env bash
# Measures Highwater on this machine against a real Kafka, and with PEERS=1 what a user would
# otherwise write (bench/peers) beside it, in turn, on the same Kafka. Prints tables in Markdown.
#
#   scripts/bench.sh                     Highwater alone, some five minutes
#   PEERS=1 scripts/bench.sh             with the peers whose stack is installed, most of an hour
#
# Of each, ROUNDS (3) times in turn, and the medians of those:
#   POST      acknowledged per second with 64 and with 512 connections, p50 and p99, by wrk, for
#             SECONDS_PER_RUN (10) after a warm-up of a fifth of it; on a new topic of three partitions
#   start     from exec to the first 200 of /health; the memory (RSS) once it has come to rest
#   consume   a topic that holds EVENTS (1000000; 0 leaves this and GET out), by a new group, from
#             exec until all are stored; then the memory
#   GET       all of them, to /dev/null: time, and memory at its peak; then once more, to count them
#   CPU       of a POST, and of an event that is consumed: user and system time of the process, and of the broker where
#             this script started it, until both are idle again
#
# All are asked the same way when they have consumed: each tells its progress differently, or not
# at all, and asking would disturb it. So the end is taken from the process's CPU time: the moment
# after which it took less than 50 ms of it in two seconds, provided that it holds at least half
# of the events' bytes. The count afterwards must be right, or the measurement fails.
#
# Logs at level info go to a file. Further variables:
#   KAFKA_BROKERS    a Kafka to use (topics bench-* are made and deleted); otherwise scripts/kafka.sh
#   KAFKA_VERSION    starts one: 3.4.1 or 4.1.0
#   ONLY             a regular expression: only the peers whose name it matches
#   HIGHWATER        a binary to measure in place of the static one of profile fastest, which is built otherwise
#   RESULTS          the file that each measurement is added to as a line of JSON
#
# Needs wrk, kcat, jq, curl; for Kafka what scripts/kafka.sh needs.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

ROUNDS=${ROUNDS:-3} SECONDS_PER_RUN=${SECONDS_PER_RUN:-10} EVENTS=${EVENTS:-1000000}
target_dir=$(cd "$root" && realpath -m "${CARGO_TARGET_DIR:-target}")
unset CARGO_TARGET_DIR # the peers have their own
HIGHWATER=${HIGHWATER:-}
RESULTS=$(realpath -m "${RESULTS:-$target_dir/bench/$(date +%Y%m%d-%H%M%S).jsonl}")
work=$(mktemp -d)
run=bench-$$
kafka_port=""
broker_pid=""
pid=""
ulimit -n "$(ulimit -Hn)"
exec {quiet}<> <(:) # never says anything: a wait without a process

say() { echo "bench.sh: $*" >&2; }
kafka() { KAFKA_JVM="" "$root/scripts/kafka.sh" "$@"; }
topics() { kafka tool "$first_broker" topics "$@" >>"$work/topics.log" 2>&1; }
now() { echo "${EPOCHREALTIME/[.,]/}"; } # microseconds
pause() { read -rt "$1" -u "$quiet" _ || true; }

ended() {
  local status=$?
  trap - EXIT
  stop_app || true
  if [ -n "$kafka_port" ]; then
    kafka stop "$kafka_port"
  elif [ -n "${first_broker:-}" ]; then
    topics --delete --if-exists --topic "$run-.*" || true
  fi
  rm -rf "$work"
  exit "$status"
}
trap ended EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

free_port() { # FIRST STEP OFFSET...: the first from FIRST on, by STEP, with none of the offsets taken
  local first=$1 step=$2 port offset
  shift 2
  for port in $(seq "$first" "$step" $((first + 40 * step))); do
    for offset; do
      if (exec 3<>"/dev/tcp/127.0.0.1/$((port + offset))") 2>/dev/null; then continue 2; fi
    done
    echo "$port"
    return
  done
  say "no free port from $first on"
  return 1
}

# --- a process, looked at from outside ---------------------------------------------------------

alive() { kill -0 "$pid" 2>/dev/null; }

# cpu [PID]: sets `ticks` to the CPU time of the process, or of that one, in ticks of 10 ms.
cpu() {
  local stat field
  ticks=0
  read -r stat <"/proc/${1:-$pid}/stat" || return 1
  read -r -a field <<<"${stat##*) }"
  ticks=$((field[11] + field[12]))
} 2>/dev/null

# spent: sets `own_ticks` and `broker_ticks` to the CPU time so far of the process and of the broker.
spent() {
  own_ticks=0 broker_ticks=0
  if [ -n "$broker_pid" ] && cpu "$broker_pid"; then broker_ticks=$ticks; fi
  if [ -n "$pid" ] && cpu; then own_ticks=$ticks; fi
}

# cost EVENTS OWN BROKER: as JSON, the microseconds of CPU that an event took since `spent` said OWN and BROKER.
cost() {
  spent
  jq -cn --argjson events "$1" --argjson own $((own_ticks - $2)) --argjson broker $((broker_ticks - $3)) --arg known "$broker_pid" \
    '{cpu_us: ($own * 1e4 / $events), broker_cpu_us: (if $known == "" then null else $broker * 1e4 / $events end)}'
}

memory() { awk -v name="$1:" '$1 == name {print $2 * 1024}' "/proc/$pid/status"; } # VmRSS or VmHWM, bytes

# rested BYTES LIMIT: waits until the process is idle and holds that much memory, at most LIMIT
# seconds; sets `rested_at` to the moment since when it has been idle, in microseconds.
rested() {
  local times=() work_done=() first=0 last=-1 end=$(($(now) + $2 * 1000000)) time
  while :; do
    time=$(now)
    if ! alive || ! cpu; then say "$who ended by itself"; return 1; fi
    times+=("$time")
    work_done+=("$ticks")
    last=$((last + 1))
    while ((work_done[first] < ticks - 5)); do first=$((first + 1)); done
    rested_at=${times[first]}
    if ((time - rested_at > 2000000)) && [ "$(memory VmRSS)" -ge "$1" ]; then return; fi
    ((time < end)) || { say "$who has not come to rest in $2 s"; return 1; }
    pause 0.02
  done
}

# --- the applications ----------------------------------------------------------------------------

# start_app TOPIC: starts `who` on a free port; sets `url`, `started` and `answered` (microseconds).
start_app() {
  local port line="" end
  port=$(free_port 18100 1 0)
  url=http://127.0.0.1:$port
  cd "$work"
  started=$(now)
  # shellcheck disable=SC2086 # settings are words
  env PORT="$port" KAFKA_BROKERS="$brokers" KAFKA_TOPIC="$1" KAFKA_GROUP_ID="$run-$RANDOM$RANDOM" RUST_LOG=info \
    STORE_MAX_EVENTS=$((EVENTS > 1000000 ? 4 * EVENTS : 4000000)) STORE_MAX_BYTES=64GiB $app_settings "$app" </dev/null >"$work/app.log" 2>&1 &
  pid=$!
  end=$((started + 60000000))
  until [[ $line == *" 200"* ]]; do
    if { exec 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null; then
      printf 'GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' >&3
      read -rt 5 line <&3 || true
      exec 3>&-
    fi
    answered=$(now)
    if ! alive || ((answered > end)); then
      say "$who does not start:"
      tail -n 5 "$work/app.log" >&2
      stop_app
      return 1
    fi
  done
}

stop_app() {
  local end=$((SECONDS + 15))
  [ -n "$pid" ] || return 0
  kill -TERM "$pid" 2>/dev/null || true
  while alive && ((SECONDS < end)); do pause 0.05; done
  kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  pid=""
}

record() { # WHAT NUMBERS: numbers is a JSON object
  jq -cn --arg who "$who" --argjson round "$round" --arg what "$1" --argjson numbers "$2" \
    '{who: $who, round: $round, what: $what} + $numbers' | tee -a "$RESULTS" |
    jq -r '[.who, .what] + [to_entries[3:][] | "\(.key) \(.value)"] | join(" · ")' >&2
}

# measure_posts: start-up, memory at rest, POSTs.
measure_posts() {
  local connections line status="" end topic own_before broker_before
  topic=$run-posts-$RANDOM$RANDOM
  topics --create --topic "$topic" --partitions 3 || { say "no topic: $(tail -n 3 "$work/topics.log")"; return 1; }
  start_app "$topic" || return 1
  if [ "$app_phases" != posts ]; then
    rested 0 60 || return 1
    record start "{\"first_answer_ms\": $(((answered - started) / 1000)), \"rss_bytes\": $(memory VmRSS)}"
  fi
  end=$((SECONDS + 30))
  until [ "$status" = 201 ]; do
    ((SECONDS < end)) || { say "$who takes no event: $status"; return 1; }
    status=$(curl -s -o /dev/null -w '%{http_code}' --max-time 20 -H 'Content-Type: application/json' \
      -d '{"userId":"warm-up","eventType":"LOGIN"}' "$url/events/generate" || true)
  done
  wrk -t1 -c64 "-d$(((SECONDS_PER_RUN + 4) / 5))s" --timeout 15s -s "$root/bench/post.lua" "$url" >/dev/null
  for connections in 64 512; do
    rested 0 60 || return 1
    spent
    own_before=$own_ticks broker_before=$broker_ticks
    line=$(wrk -t1 "-c$connections" "-d${SECONDS_PER_RUN}s" --timeout 15s -s "$root/bench/post.lua" "$url" | tail -n 1)
    alive || { say "$who ended by itself"; return 1; }
    rested 0 60 || return 1 # what was posted is consumed, too
    record post "$(jq -c --argjson n "$connections" --argjson cost "$(cost "$(jq '.requests - .refused | [., 1] | max' <<<"$line")" \
      "$own_before" "$broker_before")" '{connections: $n} + . + $cost' <<<"$line")"
  done
  stop_app
  topics --delete --topic "$topic" || true
}

# measure_million: consuming EVENTS, and reading them back.
measure_million() {
  local rss before peak after status bytes seconds count cost
  spent # the process has spent nothing before its start
  start_app "$run-million" || return 1
  rested $((EVENTS * 170)) 600 || return 1
  rss=$(memory VmRSS)
  cost=$(cost "$EVENTS" 0 "$broker_ticks")
  local consumed=$((rested_at - started)) most
  most=$(memory VmHWM)
  before=$rss
  echo 5 >"/proc/$pid/clear_refs" # VmHWM starts anew
  read -r status bytes seconds < <(curl -s -o /dev/null -w '%{http_code} %{size_download} %{time_total}\n' \
    --max-time 600 "$url/events/processed" || true) || true
  alive || { say "$who ended during GET"; return 1; }
  peak=$(memory VmHWM)
  after=$(memory VmRSS)
  count=$(curl -s --max-time 600 "$url/events/processed" | tr '{' '\n' | grep -c '"eventId"' || true)
  if [ "$status" != 200 ] || [ "$count" != "$EVENTS" ]; then
    say "$who answered $status and lists $count of $EVENTS events: not measured"
    return 1
  fi
  record consume "$(jq -cn "{events: $EVENTS, seconds: ($consumed / 1e6), rss_bytes: $rss, peak_bytes: $most} + $cost")"
  record get "$(jq -cn "{events: $EVENTS, seconds: $seconds, bytes: $bytes, before_bytes: $before, peak_bytes: $peak,
    after_bytes: $after, bytes_beyond_json: ((($rss - $(rest_of "$who")) - ($bytes - 1 - $EVENTS)) / $EVENTS | round)}")"
  stop_app
}

rest_of() { # WHO: its memory at rest, as measured last
  jq -rs --arg who "$1" '[.[] | select(.who == $who and .what == "start")] | last | .rss_bytes // 0' "$RESULTS"
}

# --- who takes part ------------------------------------------------------------------------------

names=() apps=() settings=() phases=()

joins() { # NAME COMMAND SETTINGS PHASES
  names+=("$1") apps+=("$2") settings+=("$3") phases+=("$4")
}

peer() { # FOLDER NAME NEEDS: builds it; false when its stack is not there, or ONLY leaves it out
  local command
  [[ $2 =~ ${ONLY:-} ]] || return 1
  for command in $3; do
    command -v "$command" >/dev/null || { say "$2 is left out: no $command"; return 1; }
  done
  say "building $2"
  "$root/bench/peers/$1/build.sh" >"$work/build.log" 2>&1 ||
    { say "$2 is left out: it does not build"; tail -n 5 "$work/build.log" >&2; return 1; }
}

take_part() {
  local peers=$root/bench/peers name linger target
  if [ -z "$HIGHWATER" ]; then
    say "building Highwater"
    target=$("$root/scripts/musl-target.sh")
    (cd "$root" && cargo build --profile fastest --locked --no-default-features --target "$target" --target-dir "$target_dir" >&2)
    HIGHWATER=$target_dir/$target/fastest/highwater
  fi
  joins Highwater "$(realpath "$HIGHWATER")" "" all
  [ "${PEERS:-0}" != 0 ] || return 0
  name="Rust: axum, librdkafka"
  if peer rust-axum-rdkafka "$name" "cargo make cc"; then
    joins "$name" "$peers/rust-axum-rdkafka/run.sh" LINGER_MS=5 all
    for linger in 0 1; do
      joins "$name, LINGER_MS=$linger" "$peers/rust-axum-rdkafka/run.sh" "LINGER_MS=$linger" posts
    done
  fi
  name="Go: net/http, franz-go"
  if peer go-franz "$name" go; then joins "$name" "$peers/go-franz/run.sh" "" all; fi
  name="Node: Fastify, librdkafka"
  if peer node-fastify-confluent "$name" "node npm make c++"; then joins "$name" "$peers/node-fastify-confluent/run.sh" "" all; fi
  name="Node: Express, KafkaJS"
  if peer node-kafkajs "$name" "node npm"; then joins "$name" "$peers/node-kafkajs/run.sh" "" all; fi
  name="Python: FastAPI, aiokafka"
  if peer python-fastapi-aiokafka "$name" python3; then joins "$name" "$peers/python-fastapi-aiokafka/run.sh" "" all; fi
  name="Java: Spring Boot, spring-kafka"
  if peer java-spring "$name" "mvn javac"; then joins "$name" "$peers/java-spring/run.sh" "" all; fi
  name="Rust: bare warp, no Kafka"
  if peer rust-warp-echo "$name" cargo; then joins "$name" "$peers/rust-warp-echo/run.sh" "" posts; fi
}

# --- the Kafka and what it holds -----------------------------------------------------------------

find_kafka() {
  if [ -n "${KAFKA_BROKERS:-}" ]; then
    brokers=$KAFKA_BROKERS kafka_name="at $KAFKA_BROKERS"
  else
    kafka_port=$(free_port 27100 100 0 1000)
    kafka_name=${KAFKA_VERSION:-3.4.1}
    brokers=$(KAFKA_HEAP=${KAFKA_HEAP:-1g} kafka start "$kafka_name" "$kafka_port" 1)
    broker_pid=$(kafka pid "$kafka_port")
  fi
  first_broker=${brokers%%,*}
}

fill_topic() {
  say "writing $EVENTS events to $run-million"
  topics --create --topic "$run-million" --partitions 3
  awk -v EVENTS="$EVENTS" -f "$root/bench/events.awk" |
    kcat -P -q -b "$brokers" -t "$run-million" -K "$(printf '\t')" -X partitioner=murmur2_random -X acks=all -X linger.ms=50
}

for command in wrk kcat jq curl; do
  command -v "$command" >/dev/null || { say "needs $command (apt-get install wrk kcat jq curl)"; exit 1; }
done
mkdir -p "$(dirname "$RESULTS")"
: >"$RESULTS"
take_part
find_kafka
[ "$EVENTS" = 0 ] || fill_topic
jq -cn --argjson cores "$(nproc)" --arg cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" \
  --argjson memory_bytes "$(awk '/^MemTotal/ {print $2 * 1024}' /proc/meminfo)" --arg kernel "$(uname -sr)" \
  --arg kafka "$kafka_name" --argjson rounds "$ROUNDS" --argjson seconds "$SECONDS_PER_RUN" --argjson events "$EVENTS" \
  --arg day "$(date +%F)" --arg commit "$(git -C "$root" rev-parse --short HEAD 2>/dev/null || true)" \
  '{what: "machine"} + $ARGS.named' >>"$RESULTS"

failed=0
for round in $(seq "$ROUNDS"); do
  for i in "${!names[@]}"; do
    who=${names[i]} app=${apps[i]} app_settings=${settings[i]} app_phases=${phases[i]}
    measure_posts || { stop_app; [ "$i" != 0 ] || failed=1; }
    if [ "$app_phases" = all ] && [ "$EVENTS" != 0 ]; then
      measure_million || { stop_app; [ "$i" != 0 ] || failed=1; }
    fi
  done
done

echo
jq -rsf "$root/bench/table.jq" "$RESULTS"
say "each measurement: $RESULTS"
[ "$failed" = 0 ] || { say "a measurement of Highwater failed"; exit 1; }
