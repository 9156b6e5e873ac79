#!/usr/bin/env bash
# shellcheck disable=SC2016,SC2154 # the dollars are of jq; work and base come from outside
# The functions with which scripts/integration.sh and scripts/sam.sh tell their story. Both read this file, which does
# nothing by itself. They set work, a directory that is theirs, and base, where the service is.

passed=0
failed=0
skipped=0
status= # of the last answer

pass() { passed=$((passed + 1)); echo "PASS  $1"; }
fail() { failed=$((failed + 1)); echo "FAIL  $1${2:+: $2}"; }
skip() { skipped=$((skipped + 1)); echo "SKIP  $1: $2"; } # NAME WHY
step() { # NAME COMMAND...: passes when the command does
  local name=$1
  shift
  if "$@"; then pass "$name"; else fail "$name" "${status:-} $(head -c 300 "$work/body" 2>/dev/null)"; fi
}

# request METHOD PATH [CURL ARGUMENTS...]: sets status; the answer is in $work/headers and $work/body.
request() {
  local method=$1 path=$2
  shift 2
  : >"$work/body"
  : >"$work/headers"
  status=$(curl -sS --max-time 60 -X "$method" -D "$work/headers" -o "$work/body" -w '%{http_code}' "$@" \
    "$base$path" 2>"$work/curl" || true)
}
post() { request POST "$1" -H 'Content-Type: application/json' -d "$2"; } # PATH BODY
body() { jq -e "$@" "$work/body" >/dev/null 2>&1; }                       # JQ ARGUMENTS...
header() { sed -n "s/^$1: *\(.*[^ ]\) *\r$/\1/Ip" "$work/headers"; }

# problem STATUS [FIELD]: the last answer is a problem of that status, about that field.
problem() {
  [ "$status" = "$1" ] && [[ "$(header content-type)" == application/problem+json* ]] &&
    body --argjson status "$1" '.status == $status and (.title | length > 0)' &&
    { [ $# -lt 2 ] || body --arg field "$2" 'any(.errors[]; .field == $field and (.message | length > 0))'; }
}

within() { # SECONDS COMMAND...: until the command succeeds
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.2
  done
}

is() { request GET "$2" && [ "$status" = "$1" ]; } # STATUS PATH
