#!/usr/bin/env bash
# The cost of what can be switched on: CPU time of the service for a POST, its record's processing included. Services run side by
# side on the same Kafka and are loaded in turn, in short turns whose order rotates, so that what else the machine does meets all of
# them alike. Each gets the same number of POSTs a second, less than it could take: one that is as busy as it can be writes larger
# batches, and its POSTs are cheaper for that. Prints a table in Markdown, of medians.
#
#   KAFKA_BROKERS=127.0.0.1:9092 scripts/bench-cost.sh auth BINARY      without AUTH, without it for clients that send a token all
#                                                                       the same, with an API key, and with a token (RS256) that it
#                                                                       has seen before
#   KAFKA_BROKERS=127.0.0.1:9092 scripts/bench-cost.sh traces BINARY    without a collector, without one and with a traceparent in
#                                                                       each request and record, and with one per cent recorded
#
# 64 connections are kept. Further variables: ROUNDS (9), SECONDS_PER_TURN (3), RATE (6400 POSTs a second), PORT (18200), of four
# ports in a row. Needs h2load (nghttp2-client), openssl, curl, python3.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
case $1 in
  auth) names=(none ignored api-key jwt) ;;
  traces) names=(none traceparent share) ;;
  *) sed -n '2,16p' "$0" >&2 && exit 2 ;;
esac
binary=$(realpath "$2")
ROUNDS=${ROUNDS:-9} seconds=${SECONDS_PER_TURN:-3} rate=${RATE:-6400} port=${PORT:-18200}
work=$(mktemp -d)
declare -A pids ports
declare -A texts=([none]=none [ignored]="without \`AUTH\`, the token sent all the same" [api-key]="\`AUTH=api-key\`" [jwt]="\`AUTH=jwt\`"
  [traceparent]="a \`traceparent\`, no collector" [share]="1 % recorded")
ended() {
  for name in "${!pids[@]}"; do kill "${pids[$name]}" 2>/dev/null || true; done
  wait
  rm -rf "$work"
}
trap ended EXIT
cd "$work"

if [ "${names[1]}" = ignored ]; then
  mapfile -t settings < <("$root/scripts/credentials.sh" "$binary" "$work")
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
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()' "$((port + 3))" &
  pids[collector]=$!
fi
printf '{"userId":"user-1234","eventType":"PRODUCT_VIEW","payload":{"sku":"A-10023","price":"19.90","currency":"EUR","referrer":"https://shop.example/search?q=lamp","position":4}}' >event.json

cpu_micros() { # PID: user and system
  local -a stat
  read -ra stat < <(sed 's/.*) //' "/proc/$1/stat")
  echo $(((stat[11] + stat[12]) * 1000000 / $(getconf CLK_TCK)))
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

for name in "${names[@]}"; do
  ports[$name]=$port
  case $name in
    none | ignored | traceparent) extra=() ;;
    api-key) extra=(AUTH=api-key "${settings[0]}") ;;
    jwt) extra=(AUTH=jwt "${settings[@]:1}") ;;
    share)
      extra=(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:$((${PORT:-18200} + 3))"
        OTEL_TRACES_SAMPLER=parentbased_traceidratio OTEL_TRACES_SAMPLER_ARG=0.01)
      ;;
  esac
  env -i KAFKA_BROKERS="$KAFKA_BROKERS" HOST=127.0.0.1 PORT="$port" RUST_LOG=warn KAFKA_TOPIC="bench-cost-$name-$$" \
    KAFKA_GROUP_ID="bench-cost-$name-$$" STORE_MAX_EVENTS=100000 "${extra[@]}" "$binary" >"$name.log" 2>&1 &
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

for round in $(seq "$ROUNDS"); do
  for turn in "${!names[@]}"; do
    name=${names[(turn + round) % ${#names[@]}]}
    before=$(cpu_micros "${pids[$name]}")
    load "$name" "$seconds"
    # The events that it still stores are of this turn.
    sleep 0.5
    after=$(cpu_micros "${pids[$name]}")
    awk -v micros=$((after - before)) -v n="$((rate * seconds))" 'BEGIN { printf "%.2f\n", micros / n }' >>"$name"
  done
done

median() { sort -n "$1" | sed -n "$(((ROUNDS + 1) / 2))p"; }
base=$(median none)
echo "| | CPU µs a POST | beside none | of each round |"
echo "| --- | ---: | ---: | --- |"
for name in "${names[@]}"; do
  awk -v text="${texts[$name]}" -v value="$(median "$name")" -v base="$base" -v all="$(paste -sd' ' "$name")" \
    'BEGIN { printf "| %s | %.1f | %+.1f %% | %s |\n", text, value, (value / base - 1) * 100, all }'
done
