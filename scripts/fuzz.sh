#!/usr/bin/env bash
# Bad input, by machine: each target of fuzz/ from its seeds, RUNS times (10000000), or for MINUTES. A crash, an input that
# takes ten seconds, or more than 512 MB of memory ends it with an error, and leaves the input in fuzz/artifacts.
#
#   scripts/fuzz.sh [TARGET...]     batch cloud_events codings event fetch group routes segment
#
#   batch          the lines of a batch, in any pieces
#   cloud_events   CloudEvents by each mode, out again in a listing, and in once more: the same event
#   codings        bodies in gzip, zstd and brotli, in any pieces, within their bound
#   event          what a client posts, and what stands in a topic that anyone may write to
#   fetch          what a broker answers to our own Fetch
#   group          what a coordinator answers, and what other members of the group say of themselves
#   routes         one request of any kind to the whole filter tree: its answer is a problem, or has a known shape
#   segment        the calls and batches of Segment's tracking API
#
# Needs the nightly compiler and cargo-fuzz: rustup toolchain install nightly; cargo install cargo-fuzz
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

[ $# -gt 0 ] || set -- batch cloud_events codings event fetch group routes segment
for target; do
  mkdir -p "corpus/$target"
  # The corpus that grows stays out of the repository, and the seeds as they are.
  cargo +nightly fuzz run --sanitizer none "$target" "corpus/$target" "seeds/$target" -- \
    -runs="${RUNS:-10000000}" -max_total_time="$((${MINUTES:-0} * 60))" -max_len="${MAX_LEN:-1024}" \
    -timeout=10 -rss_limit_mb=512 -print_final_stats=1
done
