# shellcheck shell=bash disable=SC2016,SC2034,SC2154 # the dollars are of jq; variables are those of scripts/integration.sh
# docker-compose.postgres.yml's part of scripts/integration.sh, which reads this file.

# docker-compose.postgres.yml: three instances behind one address, each of which answers for all.
postgres_story() {
  local began=$SECONDS user=$user-postgres number instance
  compose --profile '*' down -v --remove-orphans >/dev/null 2>&1
  compose_file=docker-compose.postgres.yml
  POSTGRES_PORT=$(free_ports 15432 1)
  export POSTGRES_PORT
  compose build proxy >"$work/build.log" 2>&1 || { tail -n 20 "$work/build.log" >&2; fail "the proxy's image builds"; return; }
  compose up -d --wait --scale app-service=3 >"$work/body" 2>&1 || { fail "the compose with PostgreSQL comes up" "$(tail -n 3 "$work/body")"; return; }
  pass "the compose with PostgreSQL comes up, with three instances ($((SECONDS - began)) s)"
  for number in $(seq 12); do post /events/generate "{\"userId\":\"$user-$number\",\"eventType\":\"LOGIN\"}"; done
  step "one curl sees all events" within 30 listed 12
  step "whichever instance answers" everybody 12
  step "and the database has them, of more partitions than one" in_database "12 t"
  step "each instance is restarted, one after the other: no post is refused or lost" rolled
  step "and what was posted meanwhile, with one id, is there once" within 10 listed 13
  instance=$(compose ps -q app-service | sed -n 1p)
  docker kill "$instance" >/dev/null
  step "one instance is killed: the address answers as before" within 10 everybody 13
  step "and takes events" within 60 posts "{\"userId\":\"$user\",\"eventType\":\"LOGIN\"}"
  compose kill postgres >/dev/null 2>&1
  post /events/generate "{\"userId\":\"$user\",\"eventType\":\"LOGOUT\"}"
  step "without PostgreSQL, an event is taken" test "$status" = 201
  request GET /events/processed
  step "and a listing is a clear 503" problem 503
  compose start postgres >/dev/null 2>&1
  step "when PostgreSQL is back, all events are there" within 60 listed 15
  compose rm -sf app-service >/dev/null 2>&1
  compose up -d --wait >"$work/body" 2>&1 || fail "one instance starts" "$(tail -n 3 "$work/body")"
  step "a new instance has all of it at once" within 10 listed 15
  step "each once" in_database "15 t"
  echo "      ($((SECONDS - began)) s with PostgreSQL)"
}
everybody() { local ask; for ask in $(seq 6); do listed "$1" || return 1; done; } # COUNT: each instance in its turn
listed() { is 200 /events/processed && body --argjson n "$1" 'length == $n and ([.[].eventId] | unique | length) == $n'; } # COUNT
in_database() { # "COUNT t": rows, and whether several partitions have some
  status=$(compose exec -T postgres psql -U highwater -d highwater -At -F ' ' \
    -c 'SELECT count(*), count(DISTINCT partition) > 1 FROM highwater.events' 2>"$work/body") && [ "$status" = "$1" ]
}

# Restarts one instance after the other while a client posts without a pause, each post on a connection of its own.
rolled() {
  local instance client answers=$work/rolled event
  event="{\"eventId\":\"$(cat /proc/sys/kernel/random/uuid)\",\"userId\":\"$user\",\"eventType\":\"LOGIN\"}"
  touch "$work/rolling"
  while [ -e "$work/rolling" ]; do
    curl -s -o /dev/null --max-time 20 -w '%{http_code}\n' -H 'Content-Type: application/json' -d "$event" "$base/events/generate"
  done >"$answers" &
  client=$!
  for instance in $(compose ps -q app-service); do
    docker restart -t 15 "$instance" >/dev/null
    within 60 container_is healthy "$instance" || break
  done
  rm "$work/rolling"
  wait "$client" || true
  status="$(grep -cv '^201$' "$answers") of $(wc -l <"$answers"):"
  container_is healthy "$instance" && [ "$(sort -u "$answers")" = 201 ] && [ "$(wc -l <"$answers")" -gt 100 ]
}
container_is() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$2")" = "$1" ]; } # HEALTH CONTAINER
