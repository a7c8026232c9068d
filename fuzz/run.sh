#!/usr/bin/env bash
# Runs every fuzz target for SECONDS (60 where left out), one after the other on one core, and writes
# benches/results/fuzz.json. Needs `cargo install cargo-fuzz` and a C++ compiler, and no nightly Rust:
# there is no unsafe code here for a sanitizer to look at.
#
#     fuzz/run.sh [SECONDS] [TARGET…]
#
# What it finds lies in fuzz/artifacts/TARGET/; the inputs that lead somewhere new in fuzz/corpus/TARGET/.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
shift || true
targets=${*:-$(cargo fuzz list)}

fuzz/seeds.py
cargo fuzz build --sanitizer none
for target in $targets; do
    dict=fuzz/json.dict
    case $target in pipeline | settings | yaml | reference | pattern | split) dict=fuzz/yaml.dict ;; esac
    mkdir -p "fuzz/artifacts/$target"
    echo "$target: $seconds s"
    # An input that takes 10 s or 1 GiB is a find, as a panic is.
    cargo fuzz run --sanitizer none "$target" -- -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
        -max_len=8192 -dict="$dict" -print_final_stats=1 >"fuzz/artifacts/$target/log" 2>&1 ||
        echo "  stopped; see fuzz/artifacts/$target"
done
fuzz/results.py "$seconds" $targets
