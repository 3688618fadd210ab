#!/usr/bin/env bash
# bench.sh native|vrf [N=…] [ROUTES=…] [MACS=…] [RUNS=…] [IDLE=…] [JSON=…] [ONLY=…]: `make bench` and `make bench-vrf`. `vrf` measures
# changes only, in a guest whose kernel has VRF devices. The guest is an emulated machine with one CPU: only its ratios
# are compared with budgets, its times are not meaningful.
set -euo pipefail
cd "$(dirname "$0")/.."
where=$1
shift
binary=$(cargo bench --no-run --message-format=json --bench lab | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | grep '/lab-' | tail -n 1)
# After the benchmark: the bench profile writes its perouter to the same path.
cargo build --release --bin perouter
export PEROUTER_BIN=$PWD/target/release/perouter
case $where in
native) exec "$binary" "$@" ;;
vrf) exec hack/vm/run.sh -m 4096M -t 3000 -- env PEROUTER_BIN="$PEROUTER_BIN" "$binary" ONLY=changes EMULATED=yes "$@" ;;
*) echo "usage: bench.sh native|vrf" >&2 && exit 2 ;;
esac
