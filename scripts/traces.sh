#!/usr/bin/env bash
# Checks traces with what others have made of their specifications: a service on the embedded broker sends its spans to a receiver
# that reads them by opentelemetry-proto, and its exemplars are read by Prometheus' client. An event, a batch, a record that is set
# aside, its redrive and a second instance are each in the trace of their request; names and attributes are those that
# docs/operating/traces.md lists; and a receiver that is away or slow costs spans, and nothing else. About half a minute.
#
#   scripts/traces.sh
#
# Variables:
#   BINARY          the program to run (target/debug/highwater); it needs the embedded broker
#
# Installs what it lacks: kcat, curl and python3-venv by apt-get, and the packages below by pip into a cache.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

packages="opentelemetry-proto==1.45.2 opentelemetry-semantic-conventions==0.66b2 prometheus-client==0.25.0"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/highwater-traces
binary=$(realpath "${BINARY:-${CARGO_TARGET_DIR:-$root/target}/debug/highwater}")

# shellcheck source=scripts/need.sh
. "$root/scripts/need.sh"

need python3=python3 kcat=kcat
need_packages "$cache" "$packages"

"$cache/python/bin/python" "$root/scripts/traces/traces.py" "$binary"
