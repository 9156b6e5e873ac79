#!/usr/bin/env bash
# A real Apache Kafka on this machine, without Docker: the jars come from Maven Central, once.
#
#   scripts/kafka.sh start  [VERSION] [PORT] [BROKERS]   start a cluster, return when it answers
#   scripts/kafka.sh stop   [PORT]                       stop it and delete its data
#   scripts/kafka.sh tool   [PORT] NAME ARGS...          one of Kafka's own commands, on that cluster
#   scripts/kafka.sh kill   [PORT] [NODE]                kill -9 a broker; its data stay
#   scripts/kafka.sh end    [PORT] [NODE]                SIGTERM: it hands over what it leads, and goes
#   scripts/kafka.sh revive [PORT] [NODE] [AT]           start that broker again on its data; AT another port
#   scripts/kafka.sh pause  [PORT] [NODE]                the broker hangs without closing a connection
#   scripts/kafka.sh resume [PORT] [NODE]                and goes on
#   scripts/kafka.sh log    [PORT] [NODE]                the path of that broker's log
#   scripts/kafka.sh pid    [PORT] [NODE]                the id of that broker's process
#   scripts/kafka.sh jars   [VERSION]                    only fetch that version
#   scripts/kafka.sh secrets [PORT]                      where the certificates and passwords are
#
# VERSION 3.4.1, the default, runs with ZooKeeper, as confluentinc/cp-kafka:7.4.0 does; 4.1.0 runs
# in KRaft mode. BROKERS is 1 (the default) or 3; three replicate everything, and any one of them
# may die. PORT (9092) is the first broker's, each further broker takes the next one; ZooKeeper and
# the controllers take those from PORT+1000 on. NODE counts from 1; node 0 is ZooKeeper. PORT stays the
# cluster's name where a broker was revived at another one; only the plain listener moves.
#
# `start` prints the bootstrap servers, and only those, on standard output:
#
#   KAFKA_BROKERS=$(scripts/kafka.sh start 4.1.0 9092 3) cargo run --release
#   scripts/kafka.sh tool 9092 consumer-groups --describe --group user-activity-consumer-group
#   scripts/kafka.sh tool 9092 console-consumer --topic user-activity-events --from-beginning
#
# NAME is topics, configs, consumer-groups, console-producer or console-consumer, which get
# --bootstrap-server by themselves, or the Java class of any other. Where it says PORT, `tool` also
# takes HOST:PORT of a Kafka that this script did not start.
#
# Needs Java (17 for Kafka 4) and Maven; where apt-get is there and they are not, it installs them.
#   HIGHWATER_KAFKA_HOME   where jars, data and logs are (~/.cache/highwater-kafka)
#   KAFKA_HEAP             the heap of each broker (512m)
#   KAFKA_JVM              options of each JVM. Unset, it compiles quickly rather than well (-XX:TieredStopAtLevel=1): in a
#                          run of minutes, three brokers take half the CPU time. Benchmarks set it to nothing
#   KAFKA_SETTINGS         more broker settings, as `name=value name=value`
#   KAFKA_SECURITY         set, each broker listens on more ports: SSL on its own and 10, SASL_PLAINTEXT
#                          on 20, SASL_SSL on 30, and on 40 SSL that asks clients for a certificate. The
#                          user is highwater; `secrets` has ca.pem, client.pem, client.key and password. A
#                          session of SCRAM-SHA-256 lasts 4 s; OAUTHBEARER takes unsecured JWS (RFC 7515, A.5)
set -euo pipefail

home=${HIGHWATER_KAFKA_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/highwater-kafka}

user=highwater # of the secured listeners

say() { echo "kafka.sh: $*" >&2; }

install_java() {
  command -v mvn >/dev/null && command -v java >/dev/null && return
  command -v apt-get >/dev/null || { say "needs java and mvn"; return 1; }
  local sudo=()
  [ "$(id -u)" = 0 ] || sudo=(sudo)
  say "installing Java and Maven"
  "${sudo[@]}" apt-get update -qq >&2
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends default-jre-headless maven >&2
}

# jars VERSION: the broker and its tools; complete or not there at all.
jars() {
  local version=$1 dir=$home/jars/$1 fresh
  install_java
  [ -d "$dir" ] && return
  say "fetching Kafka $version"
  mkdir -p "$home/jars"
  fresh=$(mktemp -d "$home/jars/.fetch-XXXXXX")
  cat >"$fresh/pom.xml" <<XML
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>highwater</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
XML
  # Without its own binding of SLF4J, 3.4.1 takes slf4j-simple, as 4.1.0 does.
  if ! mvn -q -B -f "$fresh/pom.xml" dependency:copy-dependencies \
    -DoutputDirectory="$fresh" -DexcludeArtifactIds=slf4j-reload4j >"$fresh/mvn.log" 2>&1; then
    tail -20 "$fresh/mvn.log" >&2
    rm -rf "$fresh"
    return 1
  fi
  # Another run may have been quicker; its jars are the same.
  mv -T "$fresh" "$dir" 2>/dev/null || rm -rf "$fresh"
}

# jvm VERSION HEAP CLASS ARGS...
jvm() {
  local version=$1 heap=$2
  shift 2
  # shellcheck disable=SC2086 # options are words
  exec java "-Xmx$heap" ${KAFKA_JVM--XX:TieredStopAtLevel=1} -XX:+UseSerialGC -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
    -Dorg.slf4j.simpleLogger.showDateTime=true "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS" \
    -cp "$home/jars/$version/*" "$@"
}

cluster() { echo "$home/cluster-$1"; }

# version_of PORT: what the cluster there runs.
version_of() {
  cat "$(cluster "$1")/version" 2>/dev/null || { say "no cluster on port $1"; return 1; }
}

# launch PORT NODE: starts a broker, or ZooKeeper as node 0, and leaves its process id in NODE.pid.
launch() {
  local dir version class=kafka.Kafka
  dir=$(cluster "$1")
  version=$(version_of "$1")
  [ "$2" = 0 ] && class=org.apache.zookeeper.server.quorum.QuorumPeerMain
  (
    trap '' HUP # outlives the terminal it was started from
    jvm "$version" "${KAFKA_HEAP:-512m}" "$class" "$dir/$2.properties" </dev/null >>"$dir/$2.log" 2>&1 &
    echo $! >"$dir/$2.pid"
  )
}

# process PORT NODE: its process id, when that is still the process this script started.
process() {
  local dir pid
  dir=$(cluster "$1")
  pid=$(cat "$dir/$2.pid" 2>/dev/null) || return 1
  [[ "$(ps -ww -o args= -p "$pid" 2>/dev/null)" == *" $dir/$2.properties"* ]] && echo "$pid"
}

signal() { # PORT NODE SIGNAL
  local pid
  pid=$(process "$1" "$2") || { say "node $2 of port $1 is not running"; return 1; }
  kill "-$3" "$pid"
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# brokers_seen PORT: how many brokers the one on that port knows, from its answer to Metadata v1
# without topics: size, correlation id, then the length of the list of brokers, each an int32.
brokers_seen() {
  # shellcheck disable=SC2016 # expanded by the inner shell
  timeout 2 bash -c '
    exec 3<>"/dev/tcp/127.0.0.1/$1"
    printf "\0\0\0\016\0\003\0\001\0\0\0\001\377\377\0\0\0\0" >&3
    head -c 12 <&3 | od -An -tu1 | { read -r -a byte; echo "${byte[11]:-0}"; }
  ' _ "$1" 2>/dev/null || echo 0
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

whole() { [ "$(brokers_seen "$1")" = "$2" ]; } # PORT BROKERS
gone() { ! process "$1" "$2" >/dev/null; }     # PORT NODE

# settings VERSION PORT BROKERS NODE: that broker's properties.
settings() {
  local version=$1 port=$2 brokers=$3 node=$4 dir listener voters="" n setting
  dir=$(cluster "$port")
  listener=PLAINTEXT://127.0.0.1:$((port + node - 1))
  [ -z "${KAFKA_SECURITY:-}" ] || listener+=$(secured_listeners $((port + node - 1)))
  printf '%s\n' "log.dirs=$dir/data-$node" "advertised.listeners=$listener" num.partitions=3 \
    "default.replication.factor=$brokers" "min.insync.replicas=$((brokers > 1 ? 2 : 1))" \
    offsets.topic.num.partitions=8 "offsets.topic.replication.factor=$brokers" \
    transaction.state.log.num.partitions=8 "transaction.state.log.replication.factor=$brokers" \
    "transaction.state.log.min.isr=$((brokers > 1 ? 2 : 1))" group.initial.rebalance.delay.ms=0
  if [ "${version%%.*}" -lt 4 ]; then
    printf '%s\n' "broker.id=$node" "listeners=$listener" "zookeeper.connect=127.0.0.1:$((port + 1000))"
  else
    for n in $(seq "$brokers"); do voters+=${voters:+,}$n@127.0.0.1:$((port + 999 + n)); done
    printf '%s\n' "node.id=$node" process.roles=broker,controller controller.listener.names=CONTROLLER \
      "controller.quorum.voters=$voters" "listeners=$listener,CONTROLLER://127.0.0.1:$((port + 999 + node))" \
      "share.coordinator.state.topic.replication.factor=$brokers" share.coordinator.state.topic.min.isr=1
  fi
  [ -z "${KAFKA_SECURITY:-}" ] || secured_settings "$(cluster "$port")/secrets"
  for setting in ${KAFKA_SETTINGS:-}; do echo "$setting"; done
}

secured_listeners() { # PORT
  printf ',%s://127.0.0.1:%s' SSL $(($1 + 10)) SASL_PLAINTEXT $(($1 + 20)) SASL_SSL $(($1 + 30)) MUTUAL $(($1 + 40))
}

# secured_settings DIR: what the secured listeners need, from the secrets there.
secured_settings() {
  local dir=$1 password module=org.apache.kafka.common.security listener
  password=$(cat "$dir/password")
  printf '%s\n' \
    listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,MUTUAL:SSL \
    ssl.keystore.type=PEM "ssl.keystore.location=$dir/broker.pem" \
    ssl.truststore.type=PEM "ssl.truststore.location=$dir/ca.pem" \
    listener.name.mutual.ssl.client.auth=required \
    sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
  for listener in sasl_plaintext sasl_ssl; do
    printf '%s\n' \
      "listener.name.$listener.plain.sasl.jaas.config=$module.plain.PlainLoginModule required user_$user=\"$password\";" \
      "listener.name.$listener.scram-sha-256.sasl.jaas.config=$module.scram.ScramLoginModule required;" \
      "listener.name.$listener.scram-sha-256.connections.max.reauth.ms=4000" \
      "listener.name.$listener.scram-sha-512.sasl.jaas.config=$module.scram.ScramLoginModule required;" \
      "listener.name.$listener.oauthbearer.sasl.jaas.config=$module.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"$user\";"
  done
}

# make_secrets DIR: an authority, what it certifies for the broker (as 127.0.0.1) and for a client,
# another authority that nobody has to trust, and a password.
make_secrets() {
  local dir=$1 name
  command -v openssl >/dev/null || { say "needs openssl"; return 1; }
  mkdir -p "$dir"
  openssl rand -hex 16 >"$dir/password"
  for name in ca other-ca; do
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=highwater test $name" \
      -keyout "$dir/$name.key" -out "$dir/$name.pem" 2>/dev/null
  done
  printf 'subjectAltName=IP:127.0.0.1\n' >"$dir/broker.ext"
  printf 'extendedKeyUsage=clientAuth\n' >"$dir/client.ext"
  for name in broker client; do
    openssl req -newkey rsa:2048 -nodes -subj "/CN=$name" -keyout "$dir/$name.key" -out "$dir/$name.csr" 2>/dev/null
    openssl x509 -req -in "$dir/$name.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial \
      -days 3650 -extfile "$dir/$name.ext" -out "$dir/$name.crt" 2>/dev/null
  done
  mv "$dir/client.crt" "$dir/client.pem"
  cat "$dir/broker.key" "$dir/broker.crt" "$dir/ca.pem" >"$dir/broker.pem"
}

# add_scram VERSION BOOTSTRAP PASSWORD: the user, for both kinds of SCRAM; brokers keep them in the cluster.
add_scram() {
  local kind # in KRaft mode each needs a request of its own
  for kind in SCRAM-SHA-256 SCRAM-SHA-512; do
    (tool "$1" "$2" configs --alter --entity-type users --entity-name "$user" --add-config "$kind=[password=$3]") >&2
  done
}

start() { # VERSION PORT BROKERS
  local version=$1 port=$2 brokers=$3 dir node taken bootstrap=""
  dir=$(cluster "$port")
  [[ $brokers =~ ^[13]$ ]] || { say "BROKERS is 1 or 3"; return 2; }
  for node in $(seq "$brokers"); do
    for taken in $((port + node - 1)) $((port + 999 + node)); do
      ! listens "$taken" || { say "port $taken is taken (a cluster of this script: kafka.sh stop PORT)"; return 1; }
    done
  done
  jars "$version"
  rm -rf "$dir"
  mkdir -p "$dir"
  echo "$version" >"$dir/version"
  echo "$brokers" >"$dir/brokers"
  # shellcheck disable=SC2064 # the port of now
  trap "stop $port" EXIT
  [ -z "${KAFKA_SECURITY:-}" ] || make_secrets "$dir/secrets"
  if [ "${version%%.*}" -lt 4 ]; then
    printf '%s\n' "dataDir=$dir/data-0" "clientPort=$((port + 1000))" clientPortAddress=127.0.0.1 \
      admin.enableServer=false tickTime=500 >"$dir/0.properties"
    launch "$port" 0
    await 60 "ZooKeeper on port $((port + 1000)), $dir/0.log" listens $((port + 1000))
  fi
  for node in $(seq "$brokers"); do
    settings "$version" "$port" "$brokers" "$node" >"$dir/$node.properties"
    if [ "${version%%.*}" -ge 4 ]; then
      (jvm "$version" 128m kafka.tools.StorageTool format -t aGlnaHdhdGVyLWNsdXN0ZQ -c "$dir/$node.properties") \
        >>"$dir/$node.log" 2>&1
    fi
    launch "$port" "$node"
  done
  for node in $(seq "$brokers"); do
    await 120 "broker $node on port $((port + node - 1))" whole $((port + node - 1)) "$brokers"
    bootstrap+=${bootstrap:+,}127.0.0.1:$((port + node - 1))
  done
  [ -z "${KAFKA_SECURITY:-}" ] || add_scram "$version" "$bootstrap" "$(cat "$dir/secrets/password")"
  trap - EXIT
  say "Kafka $version, $brokers broker(s); data and logs in $dir"
  echo "$bootstrap"
}

stop() { # PORT
  local dir node pid
  dir=$(cluster "$1")
  [ -d "$dir" ] || { say "no cluster on port $1"; return 0; }
  for node in 3 2 1 0; do
    if pid=$(process "$1" "$node"); then
      kill -KILL "$pid" 2>/dev/null || true # its data go too: nothing to close in order
      await 10 "the end of process $pid" gone "$1" "$node"
    fi
  done
  rm -rf "$dir"
}

revive() { # PORT NODE [AT]
  local properties
  gone "$1" "$2" || { say "node $2 of port $1 runs"; return 1; }
  properties=$(cluster "$1")/$2.properties
  if [ -n "${3:-}" ]; then
    ! listens "$3" || { say "port $3 is taken"; return 1; }
    sed -i "/listeners=/s|PLAINTEXT://127.0.0.1:[0-9]*|PLAINTEXT://127.0.0.1:$3|" "$properties"
  fi
  launch "$1" "$2"
  if [ "$2" = 0 ]; then
    await 60 ZooKeeper listens $(($1 + 1000))
  else
    await 120 "broker $2" answers "$(sed -n 's|^advertised.listeners=PLAINTEXT://[^:]*:\([0-9]*\).*|\1|p' "$properties")"
  fi
}

answers() { [ "$(brokers_seen "$1")" != 0 ]; } # PORT

tool() { # VERSION BOOTSTRAP NAME ARGS...
  local version=$1 bootstrap=$2 name=$3 class
  shift 3
  case ${version%%.*}:$name in
    3:topics) class=kafka.admin.TopicCommand ;;
    3:consumer-groups) class=kafka.admin.ConsumerGroupCommand ;;
    3:console-producer) class=kafka.tools.ConsoleProducer ;;
    3:console-consumer) class=kafka.tools.ConsoleConsumer ;;
    *:topics) class=org.apache.kafka.tools.TopicCommand ;;
    *:consumer-groups) class=org.apache.kafka.tools.consumer.group.ConsumerGroupCommand ;;
    *:console-producer) class=org.apache.kafka.tools.ConsoleProducer ;;
    *:console-consumer) class=org.apache.kafka.tools.consumer.ConsoleConsumer ;;
    *:configs) class=kafka.admin.ConfigCommand ;;
    *) jvm "$version" 256m "$name" "$@" ;;
  esac
  jvm "$version" 256m "$class" --bootstrap-server "$bootstrap" "$@"
}

command=${1:-}
shift || true
case $command in
  start) start "${1:-3.4.1}" "${2:-9092}" "${3:-1}" ;;
  stop) stop "${1:-9092}" ;;
  pid) process "${1:-9092}" "${2:-1}" ;;
  kill) signal "${1:-9092}" "${2:-1}" KILL && await 10 "its end" gone "${1:-9092}" "${2:-1}" ;;
  end) signal "${1:-9092}" "${2:-1}" TERM && await 60 "its end" gone "${1:-9092}" "${2:-1}" ;;
  pause) signal "${1:-9092}" "${2:-1}" STOP ;;
  resume) signal "${1:-9092}" "${2:-1}" CONT ;;
  revive) revive "${1:-9092}" "${2:-1}" "${3:-}" ;;
  jars) jars "${1:-3.4.1}" ;;
  secrets) echo "$(cluster "${1:-9092}")/secrets" ;;
  log) echo "$(cluster "${1:-9092}")/${2:-1}.log" ;;
  tool)
    version=3.4.1
    bootstrap=127.0.0.1:9092
    if [[ ${1:-} =~ :[0-9]+$ ]]; then
      bootstrap=$1
      jars "$version"
      shift
    else
      if [[ ${1:-} =~ ^[0-9]+$ ]]; then
        bootstrap=127.0.0.1:$1
        shift
      fi
      version=$(version_of "${bootstrap#*:}")
    fi
    [ $# -gt 0 ] || { say "tool [PORT] NAME ARGS..."; exit 2; }
    tool "$version" "$bootstrap" "$@"
    ;;
  *)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0" >&2
    exit 2
    ;;
esac
