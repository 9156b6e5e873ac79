#!/usr/bin/env bash
set -euo pipefail
cd "$(dirname "$0")"
nice -n 10 cargo build --release --locked --target-dir target
