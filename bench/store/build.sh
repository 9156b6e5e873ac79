#!/usr/bin/env bash
# Needs: cargo, make, a C compiler, zlib1g-dev (librdkafka is built from the crate's bundled source).
set -euo pipefail
cd "$(dirname "$0")"
cargo build --release --locked --target-dir target
