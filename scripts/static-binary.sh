#!/usr/bin/env bash
# Builds the static binary as the image has it, and holds it against its bound.
set -euo pipefail
cd "$(dirname "$0")/.."

most_bytes=5774000 # which a CA bundle makes six million: the bound of the image in scripts/integration.sh

target=$(scripts/musl-target.sh)
cargo build --locked --profile image --no-default-features --target "$target" >&2
binary=${CARGO_TARGET_DIR:-target}/$target/image/highwater
bytes=$(stat -c %s "$binary")
echo "highwater without the embedded broker: $bytes bytes"
[ "$bytes" -le "$most_bytes" ] || { echo "more than $most_bytes bytes" >&2; exit 1; }
if readelf -d -l "$binary" | grep -E 'NEEDED|INTERP' >&2; then echo "not static" >&2; exit 1; fi
"$binary" --help >/dev/null
if grep -q "broken on purpose" "$binary"; then echo "built with the feature sabotage" >&2; exit 1; fi
