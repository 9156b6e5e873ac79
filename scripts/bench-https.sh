#!/usr/bin/env bash
# The cost of HTTPS: CPU time of the service for a POST, by HTTP, by HTTPS with HTTP/1.1, and by HTTPS with HTTP/2; in
# turn, on the same Kafka, with the same client. Prints a table in Markdown, of medians.
#
#   KAFKA_BROKERS=127.0.0.1:9092 scripts/bench-https.sh BINARY
#
# 64 requests are under way at a time: on 64 connections, or on 4 of HTTP/2. Connections are kept, as clients keep them;
# there is one handshake in 780 requests. Further variables: ROUNDS (5), REQUESTS (50000) a round, PORT (18100).
# Needs h2load (nghttp2), openssl, curl.
set -euo pipefail
binary=$(realpath "$1")
ROUNDS=${ROUNDS:-5} REQUESTS=${REQUESTS:-50000} port=${PORT:-18100}
work=$(mktemp -d)
pid=""
ended() { [ -z "$pid" ] || kill "$pid" 2>/dev/null || true; rm -rf "$work"; }
trap ended EXIT
cd "$work"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem 2>/dev/null
printf '{"userId":"user-1234","eventType":"PRODUCT_VIEW","payload":{"sku":"A-10023","price":"19.90","currency":"EUR","referrer":"https://shop.example/search?q=lamp","position":4}}' >event.json

cpu_micros() { # of the service, user and system
  local -a stat
  read -ra stat < <(sed 's/.*) //' "/proc/$pid/stat")
  echo $(((stat[11] + stat[12]) * 1000000 / $(getconf CLK_TCK)))
}

# measured NAME SCHEME H2LOAD_ARGUMENTS...: starts the service, and adds a number to NAME.
measured() {
  local name=$1 scheme=$2 before after done_
  shift 2
  local -a settings=(PORT="$port" HOST=127.0.0.1 RUST_LOG=warn KAFKA_TOPIC="bench-https-$$" KAFKA_GROUP_ID="bench-https-$$-$RANDOM" OFFSET_RESET=latest)
  [ "$scheme" = http ] || settings+=(HTTPS_CERTIFICATE=cert.pem HTTPS_KEY=key.pem)
  env KAFKA_BROKERS="$KAFKA_BROKERS" "${settings[@]}" "$binary" >log 2>&1 &
  pid=$!
  for _ in $(seq 300); do
    [ "$(curl -sk -o /dev/null -w '%{http_code}' "$scheme://localhost:$port/ready" || true)" = 200 ] && break
    sleep 0.1
  done
  h2load -n 5000 "$@" "$scheme://localhost:$port/events/generate" >warm 2>&1
  before=$(cpu_micros)
  h2load -n "$REQUESTS" "$@" "$scheme://localhost:$port/events/generate" >out 2>&1
  after=$(cpu_micros)
  done_=$(sed -n 's/^status codes: \([0-9]*\) 2xx.*/\1/p' out)
  [ "$done_" = "$REQUESTS" ] || { cat out log >&2; exit 1; }
  awk -v micros=$((after - before)) -v n="$REQUESTS" 'BEGIN { printf "%.1f\n", micros / n }' >>"$name"
  kill "$pid"
  wait "$pid" || true
  pid=""
}


for _ in $(seq "$ROUNDS"); do
  common=(-t 1 -H "content-type: application/json" -d event.json)
  measured http http -c 64 --h1 "${common[@]}"
  measured https1 https -c 64 --h1 "${common[@]}"
  measured https2 https -c 4 -m 16 "${common[@]}"
done
median() { sort -n "$1" | sed -n "$(((ROUNDS + 1) / 2))p"; }
base=$(median http)
echo "| | CPU µs a POST | beside HTTP | of each round |"
echo "| --- | ---: | ---: | --- |"
for name in http https1 https2; do
  case $name in http) text="HTTP/1.1" ;; https1) text="HTTPS, HTTP/1.1" ;; https2) text="HTTPS, HTTP/2" ;; esac
  awk -v text="$text" -v value="$(median $name)" -v base="$base" -v all="$(paste -sd' ' "$name")" \
    'BEGIN { printf "| %s | %s | %+.0f %% | %s |\n", text, value, (value / base - 1) * 100, all }'
done
