#!/usr/bin/env bash
# Makes docs/demo.webm, a minute of a real run: a shell and the live page, on a real Kafka, with a kill in the middle.
#
#   scripts/film.sh
#
# Variables:
#   BINARY      the program to run (target/release/highwater)
#   PORT        where it listens (8000)
#   KAFKA_PORT  where its Kafka is (29092)
#
# Installs what it lacks: chromium, ffmpeg, jq and a font by apt-get, selenium by pip into a cache.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
binary=$(realpath "${BINARY:-${CARGO_TARGET_DIR:-$root/target}/release/highwater}")
selenium="selenium==4.51.0"
port=${PORT:-8000} kafka_port=${KAFKA_PORT:-29092}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/highwater-film
started=

end_too() { [ -z "$started" ] || "$root/scripts/kafka.sh" stop "$kafka_port" || true; }

# shellcheck source=scripts/scratch.sh
. "$root/scripts/scratch.sh"
# shellcheck source=scripts/need.sh
. "$root/scripts/need.sh"
need python3=python3 curl=curl jq=jq ffmpeg=ffmpeg chromium=chromium chromedriver=chromium-driver fc-list=fontconfig
need_packages "$cache" "$selenium"

brokers=$("$root/scripts/kafka.sh" start 4.1.0 "$kafka_port")
started=yes
mkdir "$work/bin" "$work/pictures"
ln -s "$binary" "$work/bin/highwater"
awk 'BEGIN { for (n = 1; n <= 100000; n++) printf "{\"userId\":\"user-%d\",\"eventType\":\"PRODUCT_VIEW\",\"payload\":{\"sku\":\"A-%d\"}}\n", n % 5000, n }' >"$work/events.ndjson"
(cd "$work" && env -u KAFKA_PORT "PATH=$work/bin:$PATH" "$cache/python/bin/python" "$root/scripts/film/film.py" pictures \
  --port "$port" --brokers "$brokers" --events events.ndjson)
ffmpeg -y -loglevel error -f concat -i "$work/pictures/list" -vf fps=10 -c:v libvpx-vp9 -b:v 0 -crf 40 -row-mt 1 -pix_fmt yuv420p \
  "$work/demo.webm"
bytes=$(stat -c %s "$work/demo.webm")
[ "$bytes" -lt 4000000 ] || { echo "the film has $bytes bytes, more than 4,000,000" >&2; exit 1; }
cp "$work/demo.webm" "$root/docs/demo.webm"
echo "docs/demo.webm: $bytes bytes, $(ffprobe -v error -show_entries format=duration -of csv=p=0 "$work/demo.webm") s"
