#!/usr/bin/env bash
# Every test, level by level, and a table of what ran. Exit status 0 only if all passed.
set -uo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
status=0 total_passed=0 total_failed=0 total_ignored=0 table=()

# level NAME COMMAND...: runs it, shows its output, adds its closing lines to the table.
level() {
  local name=$1 start=$SECONDS passed failed ignored
  shift
  printf '\n== %s: %s\n' "$name" "$*"
  "$@" 2>&1 | tee "$log/out"
  local rc=${PIPESTATUS[0]}
  read -r passed failed ignored < <(awk '/^test result:/ { p += $4; f += $6; i += $8 } END { print p + 0, f + 0, i + 0 }' "$log/out")
  if [ "$rc" != 0 ]; then
    status=1
    [ "$failed" -gt 0 ] || failed=1
  fi
  total_passed=$((total_passed + passed)) total_failed=$((total_failed + failed)) total_ignored=$((total_ignored + ignored))
  table+=("$(printf '%-26s %7d %7d %7d %6ds' "$name" "$passed" "$failed" "$ignored" $((SECONDS - start)))")
}

frr=$(/usr/lib/frr/zebra --version | awk 'NR == 1 { print $3 }')
level "format" cargo fmt --all --check
level "clippy" cargo clippy --quiet --workspace --all-targets -- -D warnings
level "layers" hack/layers.sh
level "unit, golden, property" cargo test --workspace --lib --bins
for test in tests/*.rs; do
  name=$(basename "$test" .rs)
  [ "$name" = lab ] || level "netns $name (FRR $frr)" cargo test --test "$name"
done
level "lab runner (FRR $frr)" cargo test -p perouter-lab --tests
level "lab (FRR $frr, auto)" cargo test --test lab

printf '\n%-26s %7s %7s %7s %7s\n' level passed failed ignored time
printf '%s\n' "${table[@]}"
echo
echo "$total_passed passed, $total_failed failed, $total_ignored skipped"
exit $status
