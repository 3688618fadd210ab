#!/usr/bin/env bash
# fuzz.sh: runs the fuzz targets under libFuzzer, one after the other, SECONDS in all (600), or RUNS inputs each; TARGET=NAME runs
# one. What libFuzzer finds worth keeping stays in target/fuzz/NAME for the next time, an input that fails is written to
# target/fuzz/crash-NAME-*: fix the bug and put the input into fuzz/regressions/NAME, which every `cargo test` runs.
#
# Stable Rust is enough: optimized, with overflow checks and debug assertions, and coverage feedback from perouter itself.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-600}
read -ra targets <<<"${TARGET:-$(cd fuzz/corpus && echo *)}"

export CARGO_PROFILE_DEV_OPT_LEVEL=2
RUSTC_WORKSPACE_WRAPPER=$PWD/hack/fuzz-rustc.sh ${CARGO:-cargo} build -p perouter-fuzz --features libfuzzer

# As much stack as a thread of perouter has.
ulimit -s 2048
# A copy, as the next `cargo build` replaces it.
mkdir -p target/fuzz
cp target/debug/perouter-fuzz target/fuzz/perouter-fuzz
status=0
for target in "${targets[@]}"; do
  mkdir -p "target/fuzz/$target"
  if [ -n "${RUNS-}" ]; then limit=-runs=$RUNS; else limit=-max_total_time=$((seconds / ${#targets[@]})); fi
  echo "== $target ($limit)"
  PEROUTER_FUZZ_TARGET=$target PEROUTER_FUZZ_SEEDS=target/fuzz/seeds/$target target/fuzz/perouter-fuzz "$limit" \
    -max_len=65536 -timeout=60 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="target/fuzz/crash-$target-" \
    "target/fuzz/$target" "target/fuzz/seeds/$target" >"target/fuzz/$target.log" 2>&1 || {
    status=1
    grep -a -A 3 panicked "target/fuzz/$target.log" || tail -n 25 "target/fuzz/$target.log"
  }
  grep -aE '^(Done|stat::(number_of_executed_units|average_exec_per_sec|peak_rss_mb))' "target/fuzz/$target.log" || true
done
exit $status
