#!/usr/bin/env bash
# shellcheck disable=SC2016 # the dollars are of jq
# The event log as a Lambda function, under AWS SAM on this machine: crates/eventlog/template.yaml is linted, the
# function built, its zip weighed, and `sam local start-api` asked over HTTP, beside a DynamoDB Local
# of its own. Prints PASS, FAIL or SKIP a step; exit code 0 when none failed, else 1.
#
#   scripts/sam.sh                          all of that, on free ports; what needs SQL Server is skipped
#   TEST_SQLSERVER_URL=... scripts/sam.sh   and with SQL Server: what is posted is listed
#   scripts/sam.sh run ARGS...              `sam ARGS...`, installed if it is not there
#   scripts/sam.sh compile                  the function alone, so that all of that takes less time later
#
# Needs a Docker engine, curl, jq and Python with venv; `sam` itself comes by pip, once. The base image
# is pulled when it is not there, unless a script DOCKER_UP provides it.
#   HIGHWATER_SAM_HOME   where `sam` is installed (~/.cache/highwater-sam)
set -euo pipefail
cd "$(dirname "$0")/.."

version=1.170.0
home=${HIGHWATER_SAM_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/highwater-sam}
base_image=public.ecr.aws/lambda/provided:al2023-x86_64
most_bytes=8000000 # of the zip
seed=crates/eventlog # where the template is
export SAM_CLI_TELEMETRY=0

say() { echo "sam.sh: $*" >&2; }

# install: `sam` of this version; complete or not there at all.
install() {
  [ -x "$home/$version/bin/sam" ] && return
  say "installing aws-sam-cli $version"
  mkdir -p "$home"
  rm -rf "${home:?}/$version"
  if ! python3 -c 'import ensurepip' 2>/dev/null && command -v apt-get >/dev/null; then
    local sudo=()
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    "${sudo[@]}" apt-get update -qq >&2
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >&2
  fi
  if ! { python3 -m venv "$home/$version" && "$home/$version/bin/pip" install -q "aws-sam-cli==$version"; } >"$home/pip.log" 2>&1; then
    tail -20 "$home/pip.log" >&2
    rm -rf "${home:?}/$version"
    return 1
  fi
}

sam() { "$home/$version/bin/sam" "$@"; }

if [ "${1:-}" = run ]; then
  shift
  install
  cd "$seed"
  exec "$home/$version/bin/sam" "$@"
fi
if [ "${1:-}" = compile ]; then
  artifacts=$(mktemp -d)
  trap 'rm -rf "$artifacts"' EXIT
  make -C "$seed" build-EventLog ARTIFACTS_DIR="$artifacts"
  exit
fi
[ $# = 0 ] || { sed -n '3,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0" >&2; exit 2; }

root=$PWD
cd "$seed"

for command in docker curl jq python3; do
  command -v "$command" >/dev/null || { say "needs $command"; exit 1; }
done

work=$(mktemp -d)
dynamodb_port=
sam_pid=

ended() {
  local status=$?
  trap - EXIT
  if [ -n "$sam_pid" ]; then
    kill -TERM "$sam_pid" 2>/dev/null || true # takes its containers along
    wait "$sam_pid" || true
    [ "$status" = 0 ] || tail -n 30 "$work/sam.log" >&2
  fi
  [ -z "$dynamodb_port" ] || "$root/scripts/dynamodb.sh" stop "$dynamodb_port" || true
  rm -rf "$work"
  exit "$status"
}
trap ended EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# shellcheck source=scripts/steps.sh
. "$root/scripts/steps.sh"

free_port() { # FIRST: of it and the hundred after it, the first that nobody listens on
  local port
  for port in $(seq "$1" $(($1 + 99))); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
  return 1
}

# --- the story -----------------------------------------------------------------------------------

install
if ! docker image inspect "$base_image" >/dev/null 2>&1; then
  if [ -x "${DOCKER_UP:-}" ]; then "$DOCKER_UP" image "$base_image"; else docker pull -q "$base_image"; fi
fi

valid() { sam validate >"$work/body" 2>&1; }
step "template.yaml is valid, and lint has nothing to say" valid
began=$SECONDS
sam build >"$work/build.log" 2>&1 || { tail -n 20 "$work/build.log" >&2; fail "the function builds"; exit 1; }
pass "the function builds ($((SECONDS - began)) s)"
# As `sam deploy` packs it.
(cd .aws-sam/build/EventLog && python3 -m zipfile -c "$work/function.zip" .)
bytes=$(stat -c %s "$work/function.zip")
step "its zip has $bytes bytes, at most $most_bytes" test "$bytes" -le "$most_bytes"

dynamodb_port=$(free_port 23100)
"$root/scripts/dynamodb.sh" start "$dynamodb_port" >/dev/null

# The function's variables: both databases as its container reaches them. Without a SQL Server, an
# address where nobody listens: what is asked of it is refused at once.
python3 - "${TEST_SQLSERVER_URL:-sqlserver://nobody:none@127.0.0.1:1/eventlog}" "$dynamodb_port" >"$work/variables.json" <<'PYTHON'
import json, sys, urllib.parse
url, dynamodb = urllib.parse.urlsplit(sys.argv[1]), sys.argv[2]
machine = "host.docker.internal"
print(json.dumps({"Parameters": {
    "AWS_ENDPOINT_URL_DYNAMODB": f"http://{machine}:{dynamodb}",
    "SQLSERVER_HOST": machine if url.hostname in ("localhost", "127.0.0.1") else url.hostname,
    "SQLSERVER_PORT": str(url.port or 1433),
    "SQLSERVER_DATABASE": urllib.parse.unquote(url.path.lstrip("/")),
    "SQLSERVER_USERNAME": urllib.parse.unquote(url.username or ""),
    "SQLSERVER_PASSWORD": urllib.parse.unquote(url.password or ""),
    "SQLSERVER_TRUST_CERTIFICATE": "yes",
    "EVENTLOG_CORS_ORIGINS": "https://example.org",
}}))
PYTHON
flags=(--env-vars "$work/variables.json" --add-host host.docker.internal:host-gateway)

# invoke FUNCTION [EVENT]: what it answers, in $work/body. `sam` is content with a function that fails.
invoke() {
  local event=()
  [ $# -lt 2 ] || event=(--event "$2")
  sam local invoke "${flags[@]}" "${event[@]}" "$1" >"$work/body" 2>"$work/invoke.log" &&
    ! body 'type == "object" and has("errorType")'
}
answers() { invoke EventLog "events/$1.json" && body --argjson status "$2" '.statusCode == $status'; } # EVENT STATUS

if [ -n "${TEST_SQLSERVER_URL:-}" ]; then
  step "migrate makes the tables" invoke EventLogMigrate
else
  refused() { ! invoke EventLogMigrate && body '.errorMessage | contains("SQL Server cannot be reached")'; }
  step "migrate makes DynamoDB's table, and says that there is no SQL Server" refused
fi

port=$(free_port 23200)
base=http://127.0.0.1:$port
"$home/$version/bin/sam" local start-api "${flags[@]}" --port "$port" >"$work/sam.log" 2>&1 & # no subshell to kill
sam_pid=$!
answered() { request GET /openapi.json && [ "$status" != 000 ]; }
step "sam local start-api answers" within 60 answered
# The emulator's "Init Duration" is over before the program has begun: the first answer's duration has it all.
cold() { sed -n 's/^REPORT .*\(Init Duration: .* ms\)\tDuration: \([0-9.]* ms\)\t.*/\2 from the start of the program to its first answer; SAM says \1/p;T;q' "$work/sam.log"; }
started() { [ -n "$(cold)" ]; }
step "and says how long the start took" within 5 started
echo "      ($(cold))"

post /events '{nope'
step "400: not JSON" problem 400
post /events '{"userId":" ","eventType":"LOGIN"}'
step "400: a blank userId" problem 400 userId
post /events '{"userId":"ann/b","eventType":"LOGIN"}'
step "400: a userId with a slash" problem 400 userId
post /events '{"userId":"ann"}'
step "400: no eventType" problem 400 eventType
post /events '{"userId":"ann","eventType":"LOGIN","eventId":"1"}'
step "400: an eventId that is no UUID" problem 400 eventId
request GET '/events/ann?limit=0'
step "400: a limit out of bounds" problem 400 limit
request GET /nowhere
step "404: a route that is not there" problem 404
request DELETE /events
step "405: a method that is not there" problem 405
step "and Allow" test -n "$(header allow)"
head -c 420000 /dev/zero | tr '\0' x | jq -Rc '{userId: "ann", eventType: "LOGIN", details: .}' >"$work/large"
request POST /events -H 'Content-Type: application/json' -H 'Expect:' --data-binary "@$work/large"
step "413: more details than DynamoDB takes" problem 413
request POST /events -H 'Content-Type: text/xml' -d '<event/>'
step "415: no JSON" problem 415
request OPTIONS /events -H 'Origin: https://example.org' -H 'Access-Control-Request-Method: POST'
step "a preflight is answered" test "$(header access-control-allow-origin)" = https://example.org
is 200 /openapi.json || true
step "the OpenAPI document" body '.openapi == "3.1.0"'
request GET /swagger/swagger-ui.css --compressed
step "a file of Swagger UI, packed" grep -q swagger-ui "$work/body"
step "sam local invoke: events/error.json" answers error 400

request GET /health || true
step "health tells of DynamoDB" body '.databases.dynamoDb.connected'

if [ -z "${TEST_SQLSERVER_URL:-}" ]; then
  step "and that there is no SQL Server" body '.databases.sqlServer.connected == false'
  post /events '{"userId":"ann","eventType":"LOGIN"}'
  step "without SQL Server, a clear 503" problem 503
  step "with Retry-After" test -n "$(header retry-after)"
  step "and to sam local invoke, too" answers post 503
  skip "what is posted is listed, in pages, once" "needs TEST_SQLSERVER_URL"
else
  step "and of SQL Server" body '.databases.sqlServer.connected'
  user="ann ä 50%& #$(cat /proc/sys/kernel/random/uuid)"
  path=/events/$(jq -rn --arg user "$user" '$user | @uri')
  details='{"price":12.50,"deep":[{"b":1e400,"a":null},"ä"]}'
  posts() { # EVENT TYPE
    post /events "$(jq -nc --arg user "$user" --arg type "$1" '{userId: $user, eventType: $type}' | sed "s/}$/,\"details\":$details}/")"
    [ "$status" = 201 ] && body '.eventId | test("^[0-9a-f-]{36}$")'
  }
  for type in LOGIN PRODUCT_VIEW LOGOUT; do step "an event of type $type" posts "$type"; done
  step "where it is" is 200 "$(header location)"
  step "its details are exact" grep -qF "\"details\":$details" "$work/body"
  is 200 "$path" || true
  step "the list has them, newest first" body '[.[].eventType] == ["LOGOUT", "PRODUCT_VIEW", "LOGIN"]'
  step "with the details" test "$(grep -oF "\"details\":$details" "$work/body" | wc -l)" = 3
  is 200 "$path?limit=2" || true
  step "a page" body '[.[].eventType] == ["LOGOUT", "PRODUCT_VIEW"]'
  next=$(header link | sed -n 's/^<\([^>]*\)>; rel="next"$/\1/p')
  is 200 "$next" || true
  step "the next one" body '[.[].eventType] == ["LOGIN"]'
  step "is the last" test -z "$(header link)"
  is 200 "$path?eventType=LOGIN" || true
  step "of one type" body '[.[].eventType] == ["LOGIN"]'
  is 200 "/events/nobody-at-all" || true
  step "an unknown user has none" body '. == []'
  step "sam local invoke: events/post.json" answers post 201
  first=$(jq -r '.body | fromjson | .eventId' "$work/body")
  step "again, and its Idempotency-Key is known" answers post 201
  step "so it is the same event" test "$(jq -r '.body | fromjson | .eventId' "$work/body")" = "$first"
  step "sam local invoke: events/list.json" answers list 200
  step "sam local invoke: events/page.json" answers page 200
  step "sweep" invoke EventLogSweep
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
