#!/usr/bin/env bash
# Tries the clients that others wrote: CloudEvents' SDKs for Python and JavaScript; Segment's for Python, for Node and for
# browsers (in a headless Chromium), and RudderStack's for Node. Those that send again what was not answered reach the service
# through a proxy that loses every second answer, and each event is stored once all the same. And librdkafka's consumers, which
# share a topic of the embedded broker by KIP-848. Prints PASS or FAIL a client.
#
#   scripts/clients.sh                 clients have an API key that may write: as Segment's write key, or in a header
#   AUTH=none scripts/clients.sh       the service takes all that come, and looks at no key
#
# Variables:
#   BINARY      the program to run (target/debug/highwater); it needs the embedded broker
#
# Installs what it lacks: chromium, npm and python3-venv by apt-get, the SDKs by pip and npm into a cache.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

python_packages="cloudevents==1.11.0 confluent-kafka==2.16.1 requests==2.34.2 segment-analytics-python==2.4.0 selenium==4.51.0"
npm_packages="cloudevents@10.0.0 @segment/analytics-node@3.1.0 @segment/analytics-next@1.84.3 @rudderstack/rudder-sdk-node@3.0.13"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/highwater-clients
auth=${AUTH:-api-key}
binary=$(realpath "${BINARY:-${CARGO_TARGET_DIR:-$root/target}/debug/highwater}")
base=

# shellcheck source=scripts/scratch.sh
. "$root/scripts/scratch.sh"
# shellcheck source=scripts/need.sh
. "$root/scripts/need.sh"
. "$root/scripts/steps.sh"

client() { # NAME COMMAND...
  local name=$1
  shift
  if timeout 120 "$@" >"$work/output" 2>&1; then
    pass "$name"
  else
    fail "$name"
    tail -n 15 "$work/output" >&2
  fi
}

need python3=python3 curl=curl npm=npm chromium=chromium chromedriver=chromium-driver
need_packages "$cache" "$python_packages" "$npm_packages"

pages=$(free_port)
mkdir "$work/pages"
cp "$root/scripts/clients/browser.html" "$work/pages/index.html"
cp "$cache/node_modules/@segment/analytics-next/dist/umd/index.js" "$work/pages/analytics.js"
python3 -m http.server --bind 127.0.0.1 --directory "$work/pages" "$pages" >"$work/pages.log" 2>&1 &
pids+=($!)

port=$(free_port)
settings=(HOST=127.0.0.1 PORT="$port" RUST_LOG=warn EVENT_TYPES=com.example.login CORS_ORIGINS="http://127.0.0.1:$pages")
export WRITE_KEY=key READ_KEY=key
if [ "$auth" != none ]; then
  keys=API_KEYS_FILE=$work/keys.json
  settings+=(AUTH="$auth" "$keys")
  WRITE_KEY=$(cd "$work" && env -i "$keys" "$binary" keys add --name write --scopes events:write)
  READ_KEY=$(cd "$work" && env -i "$keys" "$binary" keys add --name read --scopes events:read)
fi
(cd "$work" && exec env -i "${settings[@]}" "$binary") >"$work/service.log" 2>&1 &
pids+=($!)
base=http://127.0.0.1:$port
within 30 is 200 /ready

lossy=http://127.0.0.1:$(free_port)
python3 "$root/scripts/clients/lossy.py" "${lossy##*:}" "$base" >"$work/lossy.log" 2>&1 &
pids+=($!)
within 10 grep -q listening "$work/lossy.log"

python=$cache/python/bin/python
# Modules are looked for beside the file that asks for them.
cp "$root"/scripts/clients/*.mjs "$cache"
client "CloudEvents' SDK for Python" "$python" "$root/scripts/clients/cloudevents_sdk.py" "$base"
client "CloudEvents' SDK for JavaScript" node "$cache/cloudevents_sdk.mjs" "$base"
client "Segment's SDK for Python, each event once" "$python" "$root/scripts/clients/segment_sdk.py" "$lossy" "$base"
client "Segment's and RudderStack's SDKs for Node, each event once" node "$cache/segment_sdk.mjs" "$lossy" "$base"
client "Segment's SDK for browsers, each event once" "$python" "$root/scripts/clients/browser.py" "http://127.0.0.1:$pages/" "$lossy" "$base"
broker=$(grep -o 'embedded broker at [^;]*' "$work/service.log")
client "librdkafka's consumers, by KIP-848" "$python" "$root/scripts/clients/kafka_consumers.py" "${broker##* }"
if [ "$auth" != none ]; then
  refused() { request POST /v1/track -u "$2:" -d '{"event":"Bought","userId":"nobody"}' && [ "$status" = "$1" ]; } # STATUS KEY
  step "a key that is not known is 401" refused 401 key
  step "a key that may only read is 403" refused 403 "$READ_KEY"
fi
lost=$(curl -s "$lossy/lost")
step "answers were lost meanwhile: $lost" test "$lost" -ge 5

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
