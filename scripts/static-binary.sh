#!/usr/bin/env bash
# Holds the static binary, and the image that has it, against what both promise: small and static.
#
#   scripts/static-binary.sh          builds the binary on this machine as the image has it, some minutes
#   scripts/static-binary.sh IMAGE    the one in that image, which is built already
#
# With ARCH=aarch64 on x86-64, it builds the binary for ARM, and does not run it, which scripts/arm64.sh does.
set -euo pipefail
cd "$(dirname "$0")/.."

most_bytes=10000000 # of the image
bundle_bytes=226000 # of them for the CA bundle and the user, where only the binary is there
arch=${ARCH:-$(uname -m)}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ $# -gt 0 ]; then
  bytes=$(docker image inspect -f '{{.Size}}' "$1")
  container=$(docker create "$1")
  docker cp -q "$container:/highwater" "$work/highwater"
  docker rm "$container" >/dev/null
  binary=$work/highwater
else
  target=$(scripts/musl-target.sh "$arch")
  [ "$arch" = "$(uname -m)" ] || export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=aarch64-linux-musl-gcc
  levels=$(sed -n 's/^ARG LEVELS=//p' Dockerfile)
  cargo build --locked --profile image -p highwater --no-default-features --features "postgres,tls,$levels" --target "$target" >&2
  binary=${CARGO_TARGET_DIR:-target}/$target/image/highwater
  bytes=$(($(stat -c %s "$binary") + bundle_bytes))
fi

echo "the image: $bytes bytes, of them the binary: $(stat -c %s "$binary")"
[ "$bytes" -le "$most_bytes" ] || { echo "more than $most_bytes bytes" >&2; exit 1; }
readelf -h "$binary" >/dev/null
if readelf -d -l "$binary" | grep -E 'NEEDED|INTERP' >&2; then echo "not static" >&2; exit 1; fi
[ "$arch" != "$(uname -m)" ] || "$binary" --help >/dev/null
