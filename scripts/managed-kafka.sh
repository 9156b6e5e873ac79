#!/usr/bin/env bash
# shellcheck disable=SC2016 # the dollars are of jq
# docs/operating/managed-kafka.md, tried: an image with the settings of that page, on a Kafka of its own that listens
# with SASL_SSL, by PLAIN and by SCRAM-SHA-512; with HTTPS on the second, and with events in a PostgreSQL that it
# reaches by TLS. Prints PASS or FAIL a step; exit code 0 when all
# passed, else 1.
#
#   scripts/managed-kafka.sh [IMAGE]     highwater:latest, which is built already
#   KAFKA_VERSION=3.4.1 KAFKA_PORT=29092 POSTGRES_PORT=25433 PORT=18100 scripts/managed-kafka.sh
#
# Needs Docker, curl, jq, and what scripts/kafka.sh and scripts/postgres.sh need. Containers are on the host's network, where that Kafka is.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
image=${1:-highwater:latest} port=${PORT:-18100} kafka_port=${KAFKA_PORT:-29092} postgres_port=${POSTGRES_PORT:-25433}
work=$(mktemp -d)
kafka_started=
postgres_started=
base=
container=highwater-managed-$$

ended() {
  local status=$?
  trap - EXIT
  [ "$status" = 0 ] || docker logs --tail 20 "$container" >&2 2>&1 || true
  docker rm -f "$container" >/dev/null 2>&1 || true
  [ -z "$kafka_started" ] || "$root/scripts/kafka.sh" stop "$kafka_port" || true
  [ -z "$postgres_started" ] || "$root/scripts/postgres.sh" stop "$postgres_port" || true
  rm -rf "$work"
  exit "$status"
}
trap ended EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

. "$root/scripts/steps.sh"

# runs MECHANISM PASSWORD_FILE [DOCKER ARGUMENTS...]: the container of the recipe.
runs() {
  local mechanism=$1 password=$2
  shift 2
  docker rm -f "$container" >/dev/null 2>&1 || true
  docker run -d --name "$container" --network host \
    -v "$work/$password:/run/secrets/kafka-password:ro" -v "$work/ca.pem:/run/secrets/ca.pem:ro" \
    -e "PORT=$port" -e HOST=127.0.0.1 \
    -e "KAFKA_BROKERS=127.0.0.1:$((kafka_port + 30))" \
    -e KAFKA_SECURITY_PROTOCOL=SASL_SSL \
    -e "KAFKA_SASL_MECHANISM=$mechanism" \
    -e KAFKA_SASL_USERNAME=highwater \
    -e KAFKA_SASL_PASSWORD_FILE=/run/secrets/kafka-password \
    -e KAFKA_SSL_CA=/run/secrets/ca.pem \
    -e KAFKA_CONNECT_TIMEOUT=5s \
    "$@" "$image" >/dev/null
}

posts() {
  post /events/generate '{"userId":"managed","eventType":"LOGIN"}'
  [ "$status" = 201 ] && is 200 "/events/processed/$(jq -r .eventId "$work/body")?wait=10s"
}
healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$container")" = healthy ]; }
refused() { is 503 /ready && grep -q "refuses" "$work/body"; }
selftest() { docker exec "$container" /highwater selftest >"$work/body" 2>&1; }
http2() { [ "$(curl -s --cacert "$work/ca.pem" -o "$work/body" -w '%{http_version} %{http_code}' "$base/health")" = "2 200" ]; }
encrypted() {
  status=$("$root/scripts/postgres.sh" psql "$postgres_port" -At \
    -c "SELECT bool_and(ssl), count(*) > 0 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'highwater'")
  [ "$status" = "t|t" ]
}
plain() { [ "$(curl -s -o "$work/body" -w '%{http_code}' "http://127.0.0.1:$port/health")" = 400 ]; }

KAFKA_SECURITY=1 "$root/scripts/kafka.sh" start "${KAFKA_VERSION:-4.1.0}" "$kafka_port" >/dev/null
kafka_started=yes
secrets=$("$root/scripts/kafka.sh" secrets "$kafka_port")
# Readable for the image's user, as secrets are that an orchestrator mounts.
for file in ca.pem password broker.crt broker.key; do install -m 644 "$secrets/$file" "$work/$file"; done
echo wrong >"$work/wrong"

base=http://127.0.0.1:$port
runs PLAIN wrong
step "SASL_SSL with PLAIN: a wrong password is told by /ready" within 60 refused
runs PLAIN password
step "SASL_SSL with PLAIN: the image is ready" within 60 is 200 /ready
step "an event, from POST to GET" posts
step "the container is healthy" within 60 healthy
base=https://127.0.0.1:$port
runs SCRAM-SHA-512 password -v "$work/broker.crt:/run/secrets/https.pem:ro" -v "$work/broker.key:/run/secrets/https.key:ro" \
  -e HTTPS_CERTIFICATE=/run/secrets/https.pem -e HTTPS_KEY=/run/secrets/https.key
export CURL_CA_BUNDLE=$work/ca.pem
step "SASL_SSL with SCRAM-SHA-512, and HTTPS: the image is ready" within 60 is 200 /ready
step "an event, from POST to GET" posts
step "by HTTP/2" http2
step "HTTP without TLS is told so" plain
step "the container is healthy" within 60 healthy
step "it tries itself from inside: highwater selftest" selftest
tail -n 1 "$work/body" | sed 's/^/      /'

# A database that demands TLS of who asks for it, and whose certificate is verified.
"$root/scripts/postgres.sh" start "$postgres_port" >"$work/database"
postgres_started=yes
install -m 644 "$("$root/scripts/postgres.sh" tls "$postgres_port")/ca.pem" "$work/database-ca.pem"
sed -i 's/127\.0\.0\.1/localhost/; s|$|?sslmode=verify-full\&sslrootcert=/run/secrets/database-ca.pem|' "$work/database"
base=http://127.0.0.1:$port
runs SCRAM-SHA-512 password -e STORE_URL_FILE=/run/secrets/database \
  -v "$work/database:/run/secrets/database:ro" -v "$work/database-ca.pem:/run/secrets/database-ca.pem:ro"
step "events in PostgreSQL, by sslmode=verify-full: the image is ready" within 60 is 200 /ready
step "an event, from POST to GET" posts
step "all of its connections to the database are encrypted" encrypted

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
