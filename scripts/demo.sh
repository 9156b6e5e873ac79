#!/usr/bin/env bash
# Plays the whole story in a terminal: each command is shown, then run. A compose of its own
# (project highwater-demo), taken down at the end.
#
#   scripts/demo.sh              PAUSE=0 scripts/demo.sh for no pauses
#   PORT=8001 KAFKA_PORT=9093 ZOOKEEPER_PORT=2182 scripts/demo.sh where a port is taken
set -euo pipefail
export CURL_HOME
CURL_HOME=$(mktemp -d) # where curl is told not to show its progress, as a terminal does not need it
echo silent >"$CURL_HOME/.curlrc"
cd "$(dirname "$0")/.."

export COMPOSE_PROJECT_NAME=highwater-demo CONTAINER_PREFIX=highwater-demo-
# Where BuildKit's plugin is not installed, the classic builder does it.
docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0
export PORT=${PORT:-8000} COMPOSE_PROGRESS=quiet BUILDKIT_PROGRESS=quiet
url=http://localhost:$PORT
describe='kafka-consumer-groups --bootstrap-server kafka:9092 --describe --group user-activity-consumer-group'

ended() {
  local status=$?
  trap - EXIT
  docker compose down -v >/dev/null 2>&1 || true
  rm -rf "$CURL_HOME"
  exit "$status"
}
trap ended EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n# %s\n' "$*"; sleep "${PAUSE:-2}"; }

# run COMMAND [FILTER]: shows it, runs it, ends its output with a line break. The filter takes out
# the parts that are not shown: an answer's blank line, columns that are too wide.
run() {
  printf '$ %s\n' "$1"
  sleep "${PAUSE:-2}"
  bash -c "$1" 2>&1 | bash -c "${2:-cat}" | awk '{print}' || true
}

# quietly COMMAND: shows it and runs it; its output only where it fails, and then that is the end.
quietly() {
  printf '$ %s\n' "$1"
  local output
  output=$(bash -c "$1" 2>&1) || { printf '%s\n' "$output" >&2; exit 1; }
}

json() { run "curl $*" "jq -c ."; }
post() { run "curl -i $url/events/generate -H 'content-type: application/json' -d '$1'" "tr -d '\\r' | grep -v '^$'"; }

say "Kafka, ZooKeeper and a static binary in an empty image"
quietly "docker compose up -d --build --wait"
run "docker compose ps --format 'table {{.Service}}\t{{.Status}}'"
run "docker image ls highwater --format '{{.Repository}} {{.Size}}'"

say "Events in"
post '{"userId":"user-123","eventType":"LOGIN","payload":{"ip":"192.168.1.1","score":1.0}}'
post '{"userId":"user-123","eventType":"PRODUCT_VIEW","payload":{"sku":"A-1"}}'

say "The same event twice, as a client that retries sends it"
again='{"eventId":"6f9619ff-8b86-4d01-b42d-00cf4fc964ff","userId":"user-7","eventType":"LOGOUT"}'
post "$again"
post "$again"

say "Events out: each once"
json "$url/events/processed/6f9619ff-8b86-4d01-b42d-00cf4fc964ff?wait=5s"
run "curl $url/events/processed -H 'accept: application/x-ndjson'"
json "$url/api/events/user/user-7"

say "What is wrong is said, field by field"
json "$url/events/generate -H 'content-type: application/json' -d '{\"userId\":\" \",\"eventType\":\"PAUSE\"}'"

say "The service tries itself, and keeps no trace of that"
run "docker compose exec -T app-service /highwater selftest | tail -n 6"

say "For Kafka's own tools it is a consumer group like any other"
run "docker compose exec -T kafka $describe" "grep -E '^(GROUP|user-activity)' | cut -c1-103"

say "Killed, and started again: every event is there, each once"
quietly "docker compose kill app-service && docker compose start app-service; until curl -f $url/ready; do sleep 1; done"
run "curl $url/events/processed | jq length"

say "Without Kafka: a clear answer, at once"
quietly "docker compose stop kafka"
post '{"userId":"user-123","eventType":"LOGOUT"}'

say "Kafka is back: nothing to do"
quietly "docker compose start kafka; until curl -f $url/ready; do sleep 1; done"
post '{"userId":"user-123","eventType":"LOGOUT"}'
run "curl '$url/events/processed?userId=user-123' | jq length"
