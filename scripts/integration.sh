#!/usr/bin/env bash
# shellcheck disable=SC2016 # the dollars are of jq
# The whole thing from outside, with curl and jq alone (and Python, for thousands of
# clients at once): brings docker-compose.yml up as a project of
# its own on free ports, goes through what a client and an operator would do, prints PASS or FAIL a
# step, and takes everything down again. Exit code 0 when all passed, else 1.
#
#   scripts/integration.sh                                       builds the image, some minutes
#   COMPOSE_FILE=docker-compose.kraft.yml scripts/integration.sh Kafka 4.1 without ZooKeeper
#   POSTGRES=0 scripts/integration.sh                            without docker-compose.postgres.yml at the end
#   TESTS=1 scripts/integration.sh                               and `cargo test` in a container, more minutes
#   KEEP=1 scripts/integration.sh                                leaves it running, and says where
#   BASE_URL=http://localhost:8000 scripts/integration.sh        a running one; nothing is restarted
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

work=$(mktemp -d)
project=highwater-integration
user=smoke-$(tr -d - </proc/sys/kernel/random/uuid)
base=${BASE_URL:-}
base=${base%/}
unset BASE_URL

for command in curl jq python3; do
  command -v "$command" >/dev/null || { echo "needs $command" >&2; exit 1; }
done
if docker compose version >/dev/null 2>&1; then
  compose_command=(docker compose)
else
  compose_command=(docker-compose)
fi
# Where BuildKit's plugin is not installed, the classic builder does it.
docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0

compose() {
  "${compose_command[@]}" -p "$project" --project-directory "$root" --env-file "$work/settings" \
    -f "$root/${compose_file##*/}" "$@"
}
compose_file=${COMPOSE_FILE:-docker-compose.yml}
unset COMPOSE_FILE COMPOSE_PROFILES
export CONTAINER_PREFIX=$project-
# Nor does what this shell has set count: Compose would take it before its file of settings.
while read -r name; do unset "$name"; done < <(sed -n 's/^#\([A-Z][A-Z_]*\)=.*/\1/p' "$root/.env.example")

ended() {
  local status=$?
  trap - EXIT
  if [ -n "${ours:-}" ]; then
    if [ "$status" != 0 ]; then compose logs --tail 30 app-service >&2 || true; fi
    if [ "${KEEP:-0}" = 1 ]; then
      echo "left running at $base; to take it down: ${compose_command[*]} -p $project down -v"
    else
      compose --profile '*' down -v --remove-orphans >/dev/null 2>&1 || true
    fi
  fi
  rm -rf "$work"
  exit "$status"
}
trap ended EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# --- saying what happened ----------------------------------------------------------------------

. "$root/scripts/steps.sh"
. "$root/scripts/integration/memory.sh"
. "$root/scripts/integration/postgres.sh"
not_ours="needs the compose of this script, not BASE_URL"

# posts BODY: an event is taken, its answer names it, and it is processed.
posts() {
  post /events/generate "$1"
  [ "$status" = 201 ] && body '.eventId | test("^[0-9a-f-]{36}$")' || return 1
  local id
  id=$(jq -r .eventId "$work/body")
  [ "$(header location)" = "/events/processed/$id" ] || return 1
  is 200 "/events/processed/$id?wait=10s" && body --arg id "$id" '.eventId == $id'
}

# stored USER COUNT: so many events of that user are listed, no eventId twice.
stored() {
  is 200 "/events/processed?userId=$1" &&
    body --argjson n "$2" 'length == $n and ([.[].eventId] | unique | length) == $n'
}

# of PORT COMMAND...: the command, asked of the service on that port.
of() {
  local base=http://127.0.0.1:$1
  shift
  "$@"
}

# The walk of the README through users and orders.
users_and_orders() {
  local person order mail=$user@example.org
  step "Swagger UI of the users" of "$USERS_PORT" documented
  step "Swagger UI of the orders" of "$ORDERS_PORT" documented
  of "$USERS_PORT" post /users "{\"email\":\"$mail\",\"name\":\"Ann\"}"
  step "a user registers" test "$status" = 201
  person=$(jq -r .userId "$work/body")
  of "$USERS_PORT" post /users "{\"email\":\" ${mail^^}\",\"name\":\"Another\"}"
  step "the same e-mail a second time: 409" problem 409
  of "$USERS_PORT" post /users '{"email":"nobody","name":" "}'
  step "no e-mail, no name: 400" problem 400 email
  orders() {
    of "$ORDERS_PORT" request POST /orders -H 'Content-Type: application/json' -H 'Idempotency-Key: cart-1' \
      -H 'X-Correlation-Id: smoke-1' \
      -d "{\"userId\":\"$person\",\"currency\":\"EUR\",\"items\":[{\"sku\":\"A-1\",\"quantity\":3,\"unitPrice\":\"0.10\"}]}"
    [ "$status" = 201 ]
  }
  step "the user orders, as soon as the news has arrived" within 30 orders
  step "the total is exact" body '.total == "0.30" and .status == "Pending"'
  step "the answer has the request's X-Correlation-Id" test "$(header x-correlation-id)" = smoke-1
  order=$(jq -r .orderId "$work/body")
  orders
  step "the same Idempotency-Key: the same order" body --arg order "$order" '.orderId == $order'
  of "$ORDERS_PORT" request POST "/orders/$order/ship"
  step "it cannot be shipped yet: 409" problem 409
  step "and what is allowed is told" body '.orderStatus == "Pending" and .allowed == ["confirm", "cancel"]'
  for action in confirm pay ship deliver; do
    of "$ORDERS_PORT" request POST "/orders/$order/$action"
    step "$action" test "$status" = 200
  done
  step "it is delivered" body '.status == "Delivered" and (.history | length) == 5'
  of "$ORDERS_PORT" request POST /orders -H 'Content-Type: application/json' \
    -d "{\"userId\":\"$person\",\"currency\":\"EUR\",\"items\":[{\"sku\":\"B-2\",\"quantity\":1,\"unitPrice\":\"5\"}]}"
  order=$(jq -r .orderId "$work/body")
  compose kill user-service order-service >/dev/null 2>&1 && compose start user-service order-service >/dev/null 2>&1
  step "killed and started, both are ready" within 60 both_ready
  of "$USERS_PORT" request DELETE "/users/$person"
  step "the user is deleted" test "$status" = 204
  step "and the open order is cancelled" within 30 cancelled "$order"
}
documented() { is 200 /swagger && is 200 /openapi.json && body '.openapi | startswith("3.1.")'; }
both_ready() { of "$USERS_PORT" is 200 /ready && of "$ORDERS_PORT" is 200 /ready; }
cancelled() { of "$ORDERS_PORT" is 200 "/orders/$1" && body '.status == "Cancelled"'; } # ORDER

# --- what only the compose can show ------------------------------------------------------------

free_ports() { # FIRST COUNT: so many in a row, the first of them
  local port offset
  for port in $(seq "$1" "$2" $(($1 + 400))); do
    for ((offset = 0; offset < $2; offset++)); do
      if (exec 3<>"/dev/tcp/127.0.0.1/$((port + offset))") 2>/dev/null; then continue 2; fi
    done
    echo "$port"
    return
  done
  return 1
}

health() { docker inspect -f '{{if .State.Health}}{{.State.Health.Status}}{{end}}' "$(compose ps -q "$1")"; }
healthy() { [ "$(health "$1")" = healthy ]; }

# kafka_tool NAME ARGS...: a command of Kafka's, by either image's name for it.
kafka_tool() {
  local name=$1
  shift
  # shellcheck disable=SC2016 # expanded in the container
  compose exec -T kafka bash -c '
    PATH=$PATH:/opt/kafka/bin name=$1 && shift && $(command -v "$name" || command -v "$name.sh") "$@"' \
    _ "$name" --bootstrap-server kafka:9092 "$@" 2>"$work/tool.log"
}

# Every setting of .env.example at its default; a group of this script's own, to see that what is set
# there arrives; and an address of Kafka and one to listen on that only hold outside.
write_settings() {
  sed 's/^#\([A-Z][A-Z_]*=\)/\1/' "$root/.env.example" | grep -Ev '^(HOST|PORT|USERS_PORT|ORDERS_PORT|KAFKA_BROKERS|KAFKA_GROUP_ID)='
  echo HOST=127.0.0.1
  echo KAFKA_BROKERS=localhost:1
  echo KAFKA_GROUP_ID=integration-group
}

up() {
  local began=$SECONDS other
  base_port=$(free_ports 18000 3)
  export PORT=$base_port
  KAFKA_PORT=$(free_ports 19092 1) ZOOKEEPER_PORT=$(free_ports 12181 1) KAFKA_UI_PORT=$(free_ports 18080 1)
  USERS_PORT=$(free_ports 15001 1) ORDERS_PORT=$(free_ports 15501 1)
  export KAFKA_PORT ZOOKEEPER_PORT KAFKA_UI_PORT USERS_PORT ORDERS_PORT
  base=http://127.0.0.1:$PORT
  ours=1
  write_settings >"$work/settings"
  for other in "$root"/docker-compose*.yml; do
    step "${other##*/} is a compose file, with every profile" \
      "${compose_command[@]}" -f "$other" --profile '*' config --quiet
  done
  compose --profile '*' down -v --remove-orphans >/dev/null 2>&1 || true # what an interrupted run left
  compose build app-service >"$work/build.log" 2>&1 || { tail -n 20 "$work/build.log" >&2; fail "the image builds"; exit 1; }
  pass "the image builds ($((SECONDS - began)) s)"
  the_image
  began=$SECONDS
  compose up -d --no-deps app-service 2>"$work/up.log" || { cat "$work/up.log" >&2; fail "the service starts alone"; exit 1; }
  step "the service without Kafka lives" within 30 is 200 /health
  step "and is not ready" is 503 /ready
  compose up -d 2>"$work/up.log" || { cat "$work/up.log" >&2; fail "the compose comes up"; exit 1; }
  for other in $(compose config --services); do
    step "$other is healthy" within 120 healthy "$other"
  done
  step "the service healed" within 60 is 200 /ready
  echo "      ($((SECONDS - began)) s from the first container to ready)"
}

# The image: small, empty but for the program, and nobody's secrets.
the_image() {
  local image=highwater:latest container
  static() { "$root/scripts/static-binary.sh" "$image" >"$work/body" 2>&1; }
  step "it is small, and its program static" static
  sed 's/^/      /' "$work/body"
  container=$(docker create "$image")
  docker export "$container" | tar -t | grep -v '/$' | grep -Ev '^(\.dockerenv|dev/console|etc/(hosts|hostname|resolv\.conf|mtab))$' |
    sort >"$work/files"
  docker rm "$container" >/dev/null
  printf '%s\n' etc/passwd etc/ssl/certs/ca-certificates.crt highwater >"$work/expected"
  step "it holds the program, a CA bundle and a user" diff "$work/expected" "$work/files"
  built_without() { { docker run --rm "$image" eventlog 2>&1 || true; } | grep -q -- "--features eventlog"; }
  step "it has no event log, and says with what it would" built_without
  step "its user is not root" test "$(docker image inspect -f '{{.Config.User}}' "$image")" = 10001:10001
  docker history --no-trunc --format '{{.CreatedBy}}' "$image" >"$work/history"
  step "its history has no secret" lacks 'secret|passw|token|credential|_key' "$work/history"
}
lacks() { [ -s "$2" ] && ! grep -Eiq "$1" "$2"; } # PATTERN FILE: which is there, and not empty

confined() {
  local what
  what=$(docker inspect -f '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.HostConfig.Memory}}' "$(compose ps -q app-service)")
  [[ "$what" =~ ^true\ \[ALL\]\ \[no-new-privileges:true\]\ [1-9] ]]
}

# From the start of the process, as the engine has it, to its own word that it listens. The engine notes
# the start a moment late, so that the word can come before it.
quick_start() {
  local container started listening millis
  container=$(compose ps -q app-service)
  started=$(docker inspect -f '{{.State.StartedAt}}' "$container")
  listening=$(docker logs "$container" 2>&1 |
    jq -Rr 'fromjson? | select(.message | startswith("listening on")) | .timestamp' | tail -n 1)
  [ -n "$listening" ] || return 1
  millis=$((($(date -d "$listening" +%s%N) - $(date -d "$started" +%s%N)) / 1000000))
  status="listening after $millis ms:"
  [ "$millis" -gt -1000 ] && [ "$millis" -le 100 ]
}

# One of three starts: a busy machine may have other work during one.
quick_start_of_three() {
  local _
  for _ in 1 2 3; do
    quick_start && return
    compose restart app-service >/dev/null 2>&1
    within 60 is 200 /ready || return 1
  done
  return 1
}

# The steps of docs/operating/managed-kafka.md, out of the same image.
managed() {
  PORT=$(free_ports 18100 1) KAFKA_PORT=$(free_ports 29092 50) POSTGRES_PORT=$(free_ports 25433 1) "$root/scripts/managed-kafka.sh" highwater:latest >"$work/managed" 2>"$work/body"
}

selftest() { compose exec -T app-service /highwater selftest >"$work/body" 2>&1; }

# The tests on the Kafka of the compose file, in a container that has all they are built from.
tests() {
  compose exec -T tests cargo test >"$work/tests.log" 2>&1 && return
  grep -E '^(error|test .*FAILED|test result)|panicked' "$work/tests.log" >"$work/body"
  return 1
}

# Kills a container as an accident would, and starts it again: all of it is well by itself.
killed() { # SERVICE
  compose kill "$1" >/dev/null 2>&1 && compose start "$1" >/dev/null 2>&1 &&
    within 120 healthy "$1" && within 120 is 200 /ready && within 30 posts "{\"userId\":\"$user\",\"eventType\":\"LOGIN\"}"
}

# shared EXPECTED: the instances on the ports of the range have so many partitions each, all in all three.
shared() {
  local port counts=()
  for port in "$base_port" $((base_port + 1)) $((base_port + 2)); do
    counts+=("$(curl -s --max-time 5 "http://127.0.0.1:$port/health" | jq '[.group | select(.caughtUp) | .partitions[]] | length')") || return 1
  done
  status="partitions ${counts[*]}:"
  [ "${counts[*]}" = "$1" ]
}

# Of an event that one of three instances took, one knows; each has a part of all.
one_has() { # EVENT
  local port found=0
  for port in "$base_port" $((base_port + 1)) $((base_port + 2)); do
    status=$(curl -s -o /dev/null --max-time 10 -w '%{http_code}' "http://127.0.0.1:$port/events/processed/$1?wait=2s")
    if [ "$status" = 200 ]; then found=$((found + 1)); fi
  done
  status="$found instances have it:"
  [ "$found" = 1 ]
}

# --- the story -----------------------------------------------------------------------------------

if [ -z "$base" ]; then
  up
  step "nothing can be written, nothing may be done, memory has a bound" confined
  is 200 /health || true
  step "what is set in .env arrives" body '.group.id == "integration-group"'
else
  skip "the image; the service without Kafka lives, and heals when it comes" "$not_ours"
fi
step "the service is up" within 60 is 200 /health
step "and says so" body '.status == "up"'
step "and is ready" within 60 is 200 /ready

for type in LOGIN LOGOUT PRODUCT_VIEW; do
  step "an event of type $type" posts "{\"userId\":\"$user\",\"eventType\":\"$type\",\"payload\":{\"score\":1.0}}"
done
step "its payload is kept exactly" grep -q '"payload":{"score":1.0}' "$work/body"
post /api/events "{\"userId\":\"$user\",\"eventType\":\"CART_ADD\",\"metadata\":{\"sku\":\"A-1\"}}"
step "an event of any type by /api/events" test "$status" = 202
step "and its message" body '.message == "Event published successfully" and (.eventId | length == 36)'

twin=$(cat /proc/sys/kernel/random/uuid)
event="{\"eventId\":\"$twin\",\"userId\":\"$user\",\"eventType\":\"LOGIN\",\"timestamp\":\"2025-01-01T00:00:00.000Z\",\"payload\":{}}"
for time in first second third; do
  step "the same eventId a $time time" posts "$event"
done
count=5
if [ -n "${ours:-}" ]; then
  topic="user-activity-events"
  foreign=${event/$twin/$(cat /proc/sys/kernel/random/uuid)}
  printf '%s\n' "$user|$event" "$user|no event" "$user|$foreign" "$user|$event" "$user|$foreign" |
    kafka_tool kafka-console-producer --topic "$topic" --property parse.key=true --property 'key.separator=|' >/dev/null ||
    fail "records through Kafka itself" "$(tail -n 3 "$work/tool.log")"
  count=6
  step "twice through Kafka itself, beside a record that is none" within 30 stored "$user" $count
else
  skip "the same event twice through Kafka itself" "$not_ours"
fi
step "the list has $count events of this run, each once" within 30 stored "$user" $count
is 200 /events/processed || true
step "and no eventId twice in all" body '([.[].eventId] | length) == ([.[].eventId] | unique | length)'

is 200 "/api/events/user/$user" || true
step "by user" body --arg user "$user" --argjson n $count '.userId == $user and .count == $n and (.events | length) == $n and all(.events[]; .userId == $user)'
is 200 "/api/events/type/cart_add" || true
step "by type, in any case" body --arg user "$user" '.count == (.events | length) and any(.events[]; .userId == $user and .metadata == {"sku": "A-1"})'
is 200 "/api/events/user/nobody-$user" || true
step "a user without events" body '.count == 0 and .events == []'

post /events/generate '{nope'
step "400: not JSON" problem 400
post /events/generate "{\"eventType\":\"LOGIN\"}"
step "400: no userId" problem 400 userId
post /events/generate "{\"userId\":\"  \",\"eventType\":\"LOGIN\"}"
step "400: a blank userId" problem 400 userId
post /events/generate "{\"userId\":\"$user\",\"eventType\":\"SIGNUP\"}"
step "400: an unknown eventType" problem 400 eventType
post /events/generate "{\"userId\":\"$user\",\"eventType\":\"LOGIN\",\"payload\":[]}"
step "400: a payload that is no object" problem 400 payload
post /events/generate "{\"userId\":\"$user\",\"eventType\":\"LOGIN\",\"eventId\":\"1\"}"
step "400: an eventId that is no UUID" problem 400 eventId
request GET "/events/processed/$(cat /proc/sys/kernel/random/uuid)"
step "404: an event that is not there" problem 404
request GET /nowhere
step "404: a route that is not there" problem 404
request DELETE /events/generate
step "405: a method that is not there" problem 405
step "and Allow" test -n "$(header allow)"
head -c 20000000 /dev/zero | tr '\0' ' ' >"$work/large"
request POST /events/generate -H 'Content-Type: application/json' -H 'Expect:' --data-binary "@$work/large"
step "413: a body too large" problem 413
request POST /events/generate -H 'Content-Type: text/xml' -d '<event/>'
step "415: no JSON" problem 415
step "none of which was stored" stored "$user" $count
step "Swagger UI, and the document that it shows" documented

if [ -n "${ours:-}" ]; then
  users_and_orders
  step "the image tries itself from inside: highwater selftest" selftest
  tail -n 1 "$work/body" | sed 's/^/      /'
  kafka_tool kafka-topics --list >"$work/topics" || : >"$work/topics"
  step "and leaves no topic" lacks selftest "$work/topics"

  step "a managed Kafka, with PLAIN and with SCRAM, and HTTPS" managed
  sed 's/^/      /' "$work/managed"

  step "thousands of slow clients in 256 MB" crowded 256m
  step "and in 1 GB" crowded 1g

  if [ "${TESTS:-0}" = 1 ]; then
    compose --profile test up -d --build tests >"$work/build.log" 2>&1 || tail -n 20 "$work/build.log" >&2
    step "cargo test passes in a container" tests
    grep '^test result' "$work/tests.log" | sed 's/^/      /' || true
  fi

  compose restart app-service >/dev/null 2>&1
  step "after a restart it is ready" within 60 is 200 /ready
  step "it listened within 100 ms of its start" quick_start_of_three
  step "and has every event again, once" within 10 stored "$user" $count
  for service in $(compose config --services); do
    step "$service is killed and started: no further hand" killed "$service"
    count=$((count + 1))
  done
  step "every event is there, once" within 30 stored "$user" $count
  compose stop kafka >/dev/null 2>&1
  post /events/generate "{\"userId\":\"$user-away\",\"eventType\":\"LOGIN\"}"
  step "without Kafka, a clear 503" problem 503
  step "with Retry-After" test -n "$(header retry-after)"
  step "the process lives" is 200 /health
  step "but is not ready" within 30 is 503 /ready
  step "and answers what it has" stored "$user" $count
  compose start kafka >/dev/null 2>&1
  step "when Kafka is back, it is ready by itself" within 120 is 200 /ready
  step "and takes events" within 30 posts "{\"userId\":\"$user\",\"eventType\":\"LOGOUT\"}"
  count=$((count + 1))
  step "every event is there, once" within 30 stored "$user" $count

  PORT=$base_port-$((base_port + 2)) compose up -d --scale app-service=3 >/dev/null 2>&1 || fail "three instances start"
  step "three instances share the partitions" within 90 shared "1 1 1"
  post /events/generate "{\"userId\":\"$user-shared\",\"eventType\":\"LOGIN\"}"
  step "an event posted to one" test "$status" = 201
  step "is processed by one" within 30 one_has "$(jq -r .eventId "$work/body")"
  compose up -d --scale app-service=1 >/dev/null 2>&1 || fail "one instance is left"
  step "one instance has all of it again" within 90 stored "$user" $count
  if [ "${POSTGRES:-1}" = 1 ]; then
    postgres_story
  else
    skip "docker-compose.postgres.yml" "POSTGRES=0"
  fi
else
  skip "selftest, a restart, kills, Kafka away and back, three instances, PostgreSQL" "$not_ours"
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
