#!/usr/bin/env bash
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=bench/peers/java-spring/jdk.sh
. ./jdk.sh
nice -n 10 mvn -q -B -Djava.version="${feature:-17}" -DskipTests package
