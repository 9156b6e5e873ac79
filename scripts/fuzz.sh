#!/usr/bin/env bash
# Bad input, by machine: each target of fuzz/ from its seeds, RUNS times (10000000). A crash, an input that takes
# ten seconds, or more than 512 MB of memory ends it with an error, and leaves the input in fuzz/artifacts.
#
#   scripts/fuzz.sh [TARGET...]     batch event group fetch
#
#   batch   the lines of a batch, in any pieces
#   event   what a client posts, and what stands in a topic that anyone may write to
#   group   what a coordinator answers, and what other members of the group say of themselves
#   fetch   what a broker answers to our own Fetch
#
# Needs the nightly compiler and cargo-fuzz: rustup toolchain install nightly; cargo install cargo-fuzz
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

[ $# -gt 0 ] || set -- batch event group fetch
for target; do
  mkdir -p "corpus/$target"
  # The corpus that grows stays out of the repository, and the seeds as they are.
  cargo +nightly fuzz run --sanitizer none "$target" "corpus/$target" "seeds/$target" -- \
    -runs="${RUNS:-10000000}" -max_len="${MAX_LEN:-1024}" -timeout=10 -rss_limit_mb=512 -print_final_stats=1
done
