#!/usr/bin/env bash
# JAVA_OPTS: more flags for the JVM. PEER_JAVA_HOME: another JDK.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=bench/peers/java-spring/jdk.sh
. "$here/jdk.sh"
# shellcheck disable=SC2086 # flags are words
exec "$JAVA_HOME/bin/java" -XX:+ExitOnOutOfMemoryError ${JAVA_OPTS:-} -jar "$here/target/java-spring.jar"
