#!/usr/bin/env bash
# Plays the whole story in a terminal: each command is shown, then run. A compose of its own
# (project highwater-demo), taken down at the end.
#
#   scripts/demo.sh              PAUSE=0 scripts/demo.sh for no pauses
#   PORT=8001 KAFKA_PORT=9093 ZOOKEEPER_PORT=2182 scripts/demo.sh where a port is taken
set -euo pipefail
cd "$(dirname "$0")/.."

export COMPOSE_PROJECT_NAME=highwater-demo
# Where BuildKit's plugin is not installed, the classic builder does it.
docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0
export PORT=${PORT:-8000} COMPOSE_PROGRESS=quiet BUILDKIT_PROGRESS=quiet
url=http://localhost:$PORT
describe='kafka-consumer-groups --bootstrap-server kafka:9092 --describe --group user-activity-consumer-group'

ended() {
  local status=$?
  trap - EXIT
  docker compose down -v >/dev/null 2>&1 || true
  exit "$status"
}
trap ended EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n# %s\n' "$*"; sleep "${PAUSE:-2}"; }

# run COMMAND: shows it, runs it, ends its output with a line break.
run() {
  printf '$ %s\n' "$1"
  sleep "${PAUSE:-2}"
  bash -c "$1" 2>&1 | awk '{print} END {if (NR == 0) print "(nothing)"}' || true
}

json() { run "curl -s $* | jq -c ."; }
post() { run "curl -s -i $url/events/generate -H 'content-type: application/json' -d '$1' | tr -d '\\r' | grep -v '^$'"; }

say "Kafka, ZooKeeper and a static binary in an empty image"
run "docker compose up -d --build --wait 2>&1 | tail -n 0; docker compose ps --format 'table {{.Service}}\t{{.Status}}'"
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
run "curl -s $url/events/processed -H 'accept: application/x-ndjson'"
json "$url/api/events/user/user-7"

say "What is wrong is said, field by field"
json "$url/events/generate -H 'content-type: application/json' -d '{\"userId\":\" \",\"eventType\":\"PAUSE\"}'"

say "The service tries itself, and keeps no trace of that"
run "docker compose exec -T app-service /highwater selftest | tail -n 6"

say "For Kafka's own tools it is a consumer group like any other"
run "docker compose exec -T kafka $describe | cut -c1-103"

say "Killed, and started again: every event is there, each once"
run "docker compose kill app-service && docker compose up -d --wait; curl -s $url/events/processed | jq length"

say "Without Kafka: a clear answer, at once"
run "docker compose stop kafka"
post '{"userId":"user-123","eventType":"LOGOUT"}'

say "Kafka is back: nothing to do"
run "docker compose start kafka; until curl -sf $url/ready; do sleep 1; done; echo"
post '{"userId":"user-123","eventType":"LOGOUT"}'
run "curl -s '$url/events/processed?userId=user-123' | jq length"
