#!/usr/bin/env bash
# The cost of what can be switched on: CPU time of the service for a POST, its record's processing included. Services run side by
# side on the same Kafka and are loaded in turn, in turns of a second whose order rotates, so that what else the machine does meets
# all of them alike. After so many turns new processes begin: two of the same program differ by some per cent for their whole life.
# Each gets the same number of POSTs a second, less than it could take: one that is as busy as it can be writes larger batches, and
# its POSTs are cheaper for that. What a service does between its turns, such as an export, counts with them. Prints a table in
# Markdown: medians, and the median of the ratios within a rotation.
#
#   KAFKA_BROKERS=127.0.0.1:9092 scripts/bench-cost.sh auth BINARY      without AUTH, without it for clients that send a token all
#                                                                       the same, with an API key, and with a token (RS256) that it
#                                                                       has seen before
#   KAFKA_BROKERS=127.0.0.1:9092 scripts/bench-cost.sh traces BINARY    without a collector, without one and with a traceparent in
#                                                                       each request and record, and with one per cent recorded
#   KAFKA_BROKERS=127.0.0.1:9092 scripts/bench-cost.sh idempotence BINARY  a producer without an id, and an idempotent one
#
# 64 connections are kept. Further variables: PROCESSES (6) of each, TURNS (10) of each process, RATE (6400 POSTs a second), PORT
# (18200), of five ports in a row. Needs h2load (nghttp2-client), openssl, curl, python3.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
case $1 in
  auth) names=(none ignored api-key jwt) ;;
  traces) names=(none traceparent share) ;;
  idempotence) names=(none idempotence) ;;
  *) sed -n '2,17p' "$0" >&2 && exit 2 ;;
esac
binary=$(realpath "$2")
PROCESSES=${PROCESSES:-6} TURNS=${TURNS:-10} rate=${RATE:-6400} first_port=${PORT:-18200}
work=$(mktemp -d)
collector=""
usual=() # settings of all services, unless their own say otherwise
declare -A pids ports before
declare -A texts=([none]=none [ignored]="without \`AUTH\`, the token sent all the same" [api-key]="\`AUTH=api-key\`" [jwt]="\`AUTH=jwt\`"
  [traceparent]="a \`traceparent\`, no collector" [share]="1 % recorded" [idempotence]="\`ENABLE_IDEMPOTENCE=yes\`")
stop() {
  for name in "${!pids[@]}"; do kill "${pids[$name]}" 2>/dev/null || true; done
  for name in "${!pids[@]}"; do wait "${pids[$name]}" || true; done
  pids=()
}
ended() {
  stop
  [ -z "$collector" ] || kill "$collector" 2>/dev/null || true
  rm -rf "$work"
}
trap ended EXIT
cd "$work"

if [ "$1" = auth ]; then
  mapfile -t settings < <("$root/scripts/credentials.sh" "$binary" "$work")
elif [ "$1" = idempotence ]; then
  usual=(ENABLE_IDEMPOTENCE=no)
  texts[none]="\`ENABLE_IDEMPOTENCE=no\`"
else
  # A collector that takes everything.
  python3 -c '
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()' "$((first_port + 4))" &
  collector=$!
fi
printf '{"userId":"user-1234","eventType":"PRODUCT_VIEW","payload":{"sku":"A-10023","price":"19.90","currency":"EUR","referrer":"https://shop.example/search?q=lamp","position":4}}' >event.json

cpu_nanos() { # PID: user and system, of all its threads
  cat /proc/"$1"/task/*/schedstat 2>/dev/null | awk '{ nanos += $1 } END { printf "%.0f\n", nanos }'
}

# load NAME SECONDS: that many seconds' POSTs, all of which must be answered well.
load() {
  local -a headers=()
  case $1 in
    api-key) headers=(-H "authorization: Bearer $(cat key)") ;;
    jwt | ignored) headers=(-H "authorization: Bearer $(cat token)") ;;
    traceparent) headers=(-H 'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01') ;;
  esac
  h2load -n "$((rate * $2))" -c 64 -t 1 --rps="$((rate / 64))" --h1 -H 'content-type: application/json' "${headers[@]}" -d event.json \
    "http://127.0.0.1:${ports[$1]}/events/generate" >out 2>&1
  grep -q "^status codes: $((rate * $2)) 2xx" out || { cat out >&2; exit 1; }
}

# start ROUND: a process for each name, warm.
start() {
  local port=$first_port name
  local -a extra
  for name in "${names[@]}"; do
    ports[$name]=$port
    case $name in
      none | ignored | traceparent) extra=() ;;
      idempotence) extra=(ENABLE_IDEMPOTENCE=yes) ;;
      api-key) extra=(AUTH=api-key "${settings[0]}") ;;
      jwt) extra=(AUTH=jwt "${settings[@]:1}") ;;
      share)
        extra=(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:$((first_port + 4))"
          OTEL_TRACES_SAMPLER=parentbased_traceidratio OTEL_TRACES_SAMPLER_ARG=0.01)
        ;;
    esac
    env -i KAFKA_BROKERS="$KAFKA_BROKERS" HOST=127.0.0.1 PORT="$port" RUST_LOG=warn KAFKA_TOPIC="bench-cost-$name-$$-$1" \
      KAFKA_GROUP_ID="bench-cost-$name-$$-$1" STORE_MAX_EVENTS=100000 "${usual[@]}" "${extra[@]}" "$binary" >"$name.log" 2>&1 &
    pids[$name]=$!
    port=$((port + 1))
  done
  for name in "${names[@]}"; do
    for _ in $(seq 300); do
      [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:${ports[$name]}/ready" || true)" = 200 ] && break
      sleep 0.1
    done
    load "$name" 2
  done
}

for round in $(seq "$PROCESSES"); do
  start "$round"
  for turn in $(seq "$TURNS"); do
    for name in "${names[@]}"; do before[$name]=$(cpu_nanos "${pids[$name]}"); done
    for place in "${!names[@]}"; do
      # Forwards and backwards, so that none always follows the same one.
      place=$((turn % 2 ? place : ${#names[@]} - 1 - place))
      load "${names[(place + turn) % ${#names[@]}]}" 1
      sleep 0.15
    done
    for name in "${names[@]}"; do
      after=$(cpu_nanos "${pids[$name]}")
      awk -v nanos=$((after - before[$name])) -v n="$rate" 'BEGIN { printf "%.2f\n", nanos / 1000 / n }' >>"$name"
    done
  done
  stop
done

median() { sort -n | awk '{ line[NR] = $1 } END { print (line[int((NR + 1) / 2)] + line[int(NR / 2) + 1]) / 2 }'; }
# The standard error takes the turns of one process as one measurement.
echo "| | CPU µs a POST | beside none | standard error | middle half of the turns |"
echo "| --- | ---: | ---: | ---: | --- |"
for name in "${names[@]}"; do
  ratio=$(paste "$name" none | awk '{ print $1 / $2 }' | median)
  error=$(paste "$name" none | awk -v turns="$TURNS" -v processes="$PROCESSES" '{ sum[int((NR - 1) / turns)] += $1 / $2 / turns }
    END { for (p in sum) { mean += sum[p] / processes; squares += sum[p] ^ 2 / processes }
      variance = squares - mean ^ 2
      print sqrt((variance > 0 ? variance : 0) / (processes > 1 ? processes - 1 : 1)) * 100 }')
  sort -n "$name" | awk -v text="${texts[$name]}" -v value="$(median <"$name")" -v ratio="$ratio" -v error="$error" \
    '{ line[NR] = $1 } END { printf "| %s | %.1f | %+.1f %% | %.1f %% | %.1f to %.1f |\n", text, value, (ratio - 1) * 100, error, line[int(NR / 4) + 1], line[NR - int(NR / 4)] }'
done
