#!/usr/bin/env bash
# Makes docs/demo.webm, a minute of a real run: a shell and the live page, on a real Kafka, with a kill in the middle; and
# docs/demo.png, a still of it with a mark to play it.
#
#   scripts/film.sh
#   scripts/film.sh still    the still alone, of the film that is there
#
# Variables:
#   BINARY      the program to run (target/release/highwater)
#   PORT        where it listens (8000)
#   KAFKA_PORT  where its Kafka is (29092)
#
# Installs what it lacks: chromium, ffmpeg, jq and a font by apt-get, selenium by pip into a cache.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

still() { # the live page, some half a minute after the beginning
  local png=$root/docs/demo.png mark="drawtext=font=DejaVu Sans:text=▶:fontsize=130:fontcolor=white:x=(w-tw)/2:y=(h-th)/2"
  ffmpeg -y -loglevel error -ss 33 -i "$root/docs/demo.webm" -frames:v 1 -vf "scale=800:-1:flags=lanczos,$mark:box=1:boxcolor=black@0.6:\
boxborderw=18,split[picture][copy];[copy]palettegen=max_colors=64[palette];[picture][palette]paletteuse=dither=none" "$png"
  [ "$(stat -c %s "$png")" -lt 60000 ] || { echo "the still has more than 60,000 bytes" >&2; exit 1; }
}
if [ "${1:-}" = still ]; then
  still
  exit
fi

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
still
echo "docs/demo.webm: $bytes bytes, $(ffprobe -v error -show_entries format=duration -of csv=p=0 "$work/demo.webm") s"
