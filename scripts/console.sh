#!/usr/bin/env bash
# Tries the live page (/console) in a headless Chromium, as a person would: events appear and are found, dead letters are sent
# back, every state is told, also without Kafka and without the service; and axe finds no fault, in light and dark, on a desk
# and on a phone. Two services run on the embedded broker of the first, the second with AUTH. About a minute.
#
#   scripts/console.sh
#   SCREENSHOTS=1 scripts/console.sh      and writes docs/console-light.png and docs/console-dark.png
#
# Variables:
#   BINARY          the program to run (target/debug/highwater); it needs the embedded broker
#   KAFKA           the version of a real Kafka to use instead, as scripts/kafka.sh starts one at KAFKA_PORT (29092)
#
# Installs what it lacks: chromium, kcat, npm, python3-venv and pngquant by apt-get, selenium by pip and axe-core by npm into a
# cache.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

selenium="selenium==4.51.0"
axe="axe-core@4.14.1"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/highwater-console
binary=$(realpath "${BINARY:-${CARGO_TARGET_DIR:-$root/target}/debug/highwater}")
kafka_port=
token=let-me-in-to-the-dead-letters

end_too() { [ -z "$kafka_port" ] || "$root/scripts/kafka.sh" stop "$kafka_port" || true; }

# shellcheck source=scripts/scratch.sh
. "$root/scripts/scratch.sh"
# shellcheck source=scripts/need.sh
. "$root/scripts/need.sh"

# serve NAME SETTING=VALUE...: starts an activity service and waits until it is ready; sets address and pid.
serve() {
  local name=$1 port
  shift
  port=$(free_port)
  (cd "$work" && exec env -i HOST=127.0.0.1 PORT="$port" RUST_LOG=warn "$@" "$binary") >"$work/$name.log" 2>&1 &
  pid=$!
  pids+=("$pid")
  address=http://127.0.0.1:$port
  until curl -s -o /dev/null --fail "$address/ready"; do
    kill -0 "$pid" || { cat "$work/$name.log" >&2; return 1; }
    sleep 0.1
  done
}

need python3=python3 curl=curl openssl=openssl npm=npm kcat=kcat chromium=chromium chromedriver=chromium-driver
need_packages "$cache" "$selenium" "$axe"

broker=
if [ -n "${KAFKA:-}" ]; then
  kafka_port=${KAFKA_PORT:-29092}
  broker=$("$root/scripts/kafka.sh" start "$KAFKA" "$kafka_port")
fi
serve open ADMIN_TOKEN="$token" ${broker:+KAFKA_BROKERS="$broker"}
open=$address process=$pid
[ -n "$broker" ] || broker=$(sed -n 's/.*using the embedded broker at \([0-9.:]*\).*/\1/p' "$work/open.log")

mkdir "$work/keys"
mapfile -t access < <("$root/scripts/credentials.sh" "$binary" "$work/keys")
API_KEYS_FILE=$work/keys/keys.json "$binary" keys add --name reader --scopes events:read --expires 1d >"$work/keys/reader"
echo "$token" >"$work/keys/admin-token"
serve guarded KAFKA_BROKERS="$broker" KAFKA_GROUP_ID=guarded KAFKA_DEAD_LETTER_TOPIC=guarded.dlq AUTH=api-key "${access[0]}"

more=()
[ -z "$kafka_port" ] || more+=(--kafka "$kafka_port")
[ -z "${SCREENSHOTS:-}" ] || more+=(--pictures "$work")
"$cache/python/bin/python" "$root/scripts/console/console.py" "$open" "$address" --broker "$broker" --process "$process" \
  --keys "$work/keys" --axe "$cache/node_modules/axe-core/axe.min.js" "${more[@]}"

if [ -n "${SCREENSHOTS:-}" ]; then
  need pngquant=pngquant
  for scheme in light dark; do
    pngquant --force --output "$root/docs/console-$scheme.png" "$work/console-$scheme.png"
  done
fi
