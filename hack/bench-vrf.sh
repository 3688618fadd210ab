#!/usr/bin/env bash
# bench-vrf.sh [N=…] [RUNS=…]: what `make bench` measures of changes, in a guest whose kernel has VRF devices. The guest is
# an emulated machine with one CPU: its ratios say something, its milliseconds do not.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(cargo bench --no-run --message-format=json --bench lab | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | grep '/lab-' | tail -n 1)
cargo build --release --bin perouter
exec hack/vm/run.sh -m 4096M -t 3000 -- env PEROUTER_BIN="$PWD/target/release/perouter" "$binary" ONLY=changes "$@"
