#!/usr/bin/env bash
# DynamoDB Local on this machine, without Docker: its jars come from Maven Central, once.
#
#   scripts/dynamodb.sh start [PORT]   start it, return when it answers
#   scripts/dynamodb.sh stop  [PORT]   stop it; what it held was in memory and is gone
#   scripts/dynamodb.sh log   [PORT]   the path of its log
#   scripts/dynamodb.sh jars           only fetch it
#
# `start` prints the address, and only that, on standard output. Any region and credentials do, and
# all of them see the same tables:
#
#   export AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local
#   AWS_ENDPOINT_URL_DYNAMODB=$(scripts/dynamodb.sh start 8100) cargo test --test integration
#
# PORT is 8100 if not given. The program knows no address to listen on and takes all of this machine,
# so that the containers of `sam local` reach it, too, by host.docker.internal.
#
# Needs Java 17, Maven and curl; where apt-get is there and they are not, it installs them.
#   HIGHWATER_DYNAMODB_HOME   where the jars and logs are (~/.cache/highwater-dynamodb)
#   DYNAMODB_HEAP             its heap (256m)
set -euo pipefail

version=3.1.0
home=${HIGHWATER_DYNAMODB_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/highwater-dynamodb}
jars=$home/jars/$version
main=software.amazon.dynamodb.services.local.main.ServerRunner

say() { echo "dynamodb.sh: $*" >&2; }

install_java() {
  command -v mvn >/dev/null && command -v java >/dev/null && command -v curl >/dev/null && return
  command -v apt-get >/dev/null || { say "needs java, mvn and curl"; return 1; }
  local sudo=()
  [ "$(id -u)" = 0 ] || sudo=(sudo)
  say "installing Java, Maven and curl"
  "${sudo[@]}" apt-get update -qq >&2
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends default-jre-headless maven curl >&2
}

# fetch: the program and all it needs; complete or not there at all.
fetch() {
  local fresh
  install_java
  [ -d "$jars" ] && return
  say "fetching DynamoDB Local $version"
  mkdir -p "$home/jars"
  fresh=$(mktemp -d "$home/jars/.fetch-XXXXXX")
  cat >"$fresh/pom.xml" <<XML
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>highwater</groupId><artifactId>dynamodb</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>software.amazon.dynamodb</groupId><artifactId>DynamoDBLocal</artifactId><version>$version</version></dependency>
  </dependencies>
</project>
XML
  if ! mvn -q -B -f "$fresh/pom.xml" dependency:copy-dependencies -DoutputDirectory="$fresh" \
    >"$fresh/mvn.log" 2>&1; then
    tail -20 "$fresh/mvn.log" >&2
    rm -rf "$fresh"
    return 1
  fi
  # Another run may have been quicker; its jars are the same.
  mv -T "$fresh" "$jars" 2>/dev/null || rm -rf "$fresh"
}

# process PORT: its process id, when that is still the process this script started.
process() {
  local pid
  pid=$(cat "$home/$1.pid" 2>/dev/null) || return 1
  [[ "$(ps -ww -o args= -p "$pid" 2>/dev/null)" == *" $main "*" -port $1" ]] && echo "$pid"
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
gone() { ! process "$1" >/dev/null; } # PORT

# answers PORT: to a request nobody signed, it says 400; 000 is no answer.
answers() {
  [ "$(curl -s -o /dev/null --noproxy '*' --max-time 2 -w '%{http_code}' "http://127.0.0.1:$1/")" = 400 ]
}

# await SECONDS WHAT COMMAND...: until the command succeeds.
await() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    ((SECONDS < end)) || { say "$what: not in time"; return 1; }
    sleep 0.1
  done
}

start() { # PORT
  local port=$1
  ! listens "$port" || { say "port $port is taken (by this script: dynamodb.sh stop PORT)"; return 1; }
  fetch
  # shellcheck disable=SC2064 # the port of now
  trap "stop $port" EXIT
  (
    trap '' HUP # outlives the terminal it was started from
    # process() looks for the port as the last word.
    exec java "-Xmx${DYNAMODB_HEAP:-256m}" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
      "-Djava.library.path=$jars" -cp "$jars/*" "$main" \
      -disableTelemetry -inMemory -sharedDb -port "$port" </dev/null >"$home/$port.log" 2>&1 &
    echo $! >"$home/$port.pid"
  )
  await 60 "DynamoDB Local on port $port, $home/$port.log" answers "$port"
  trap - EXIT
  echo "http://127.0.0.1:$port"
}

stop() { # PORT
  local pid
  pid=$(process "$1") || { say "none of this script's on port $1"; return 0; }
  kill -KILL "$pid" 2>/dev/null || true # it keeps nothing: nothing to close in order
  await 10 "the end of process $pid" gone "$1"
  rm -f "$home/$1.pid"
}

case ${1:-} in
  start) start "${2:-8100}" ;;
  stop) stop "${2:-8100}" ;;
  log) echo "$home/${2:-8100}.log" ;;
  jars) fetch ;;
  *)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2
    exit 2
    ;;
esac
