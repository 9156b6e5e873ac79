#!/usr/bin/env bash
# Checks traces with what others have made of their specifications: a service on the embedded broker sends its spans to a receiver
# that reads them by opentelemetry-proto, and its exemplars are read by Prometheus' client. An event, a batch, a record that is set
# aside, its redrive and a second instance are each in the trace of their request; names and attributes are those that
# docs/operating/traces.md lists; and a receiver that is away or slow costs spans, and nothing else. About half a minute. Where
# Jaeger is compiled, an event's spans also go to it, as docker-compose.yml starts it, and are read out as Grafana does.
#
#   scripts/traces.sh           all of that
#   scripts/traces.sh jaeger    the same, and compiles Jaeger from the Go module proxy first, where it is not there: two cores take
#                               some minutes
#
# Variables:
#   BINARY          the program to run (target/debug/highwater); it needs the embedded broker
#
# Installs what it lacks: kcat and python3-venv by apt-get, the packages below by pip into a cache, and Go for Jaeger.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

packages="opentelemetry-proto==1.45.2 opentelemetry-semantic-conventions==0.66b2 prometheus-client==0.25.0"
caches=${XDG_CACHE_HOME:-$HOME/.cache}
cache=$caches/highwater-traces
# The module has the number that Jaeger's version 1 of the same commit has.
jaeger_version=2.10.0 jaeger_module=github.com/jaegertracing/jaeger@v1.73.0
jaeger=$caches/highwater-jaeger/jaeger-$jaeger_version
binary=$(realpath "${BINARY:-${CARGO_TARGET_DIR:-$root/target}/debug/highwater}")

# shellcheck source=scripts/need.sh
. "$root/scripts/need.sh"
# shellcheck source=scripts/go.sh
. "$root/scripts/go.sh"

need python3=python3 kcat=kcat
need_packages "$cache" "$packages"

grep -q "image: jaegertracing/jaeger:$jaeger_version\$" "$root/docker-compose.yml" || { echo "Compose has another Jaeger"; exit 1; }
case ${1:-} in
  '') ;;
  jaeger)
    if [ ! -x "$jaeger" ]; then
      work=$(mktemp -d)
      trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT
      need_go
      # A module that replaces others is compiled from its own files alone.
      cp -r "$(module "$jaeger_module")" "$work/jaeger"
      mkdir -p "$(dirname "$jaeger")"
      (cd "$work/jaeger" && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$work/built" ./cmd/jaeger)
      mv "$work/built" "$jaeger"
    fi
    ;;
  *) echo "scripts/traces.sh [jaeger]" >&2 && exit 2 ;;
esac

if [ -x "$jaeger" ]; then
  "$cache/python/bin/python" "$root/scripts/traces/traces.py" "$binary" "$jaeger"
else
  "$cache/python/bin/python" "$root/scripts/traces/traces.py" "$binary"
  echo "skipped: Jaeger, which scripts/traces.sh jaeger compiles"
fi
