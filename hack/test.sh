#!/usr/bin/env bash
# test.sh [LEVEL...]: runs the tests level by level and prints a table of the results. Exit status 0 only if all passed.
#   fast    format, clippy, layers, licences, Helm chart, documentation, the files that the Dockerfile copies, unit, golden, property
#   fuzz    mutated inputs for every decoder, 40 s in all
#   metrics lint of the metrics, alerts and dashboard with promtool, and each alert fired by a real Prometheus; Debian's package is put
#           into a cache
#   page    the page of `perouter ui` in Debian's Chromium, driven by playwright-core of npm
#   netns   kernel, FRR and lab in netns mode with the FRR of the machine
#   frr-10.3, frr-10.7  FRR in netns mode with that release, in a root file system of the Debian suite that has it; with 10.7
#           also the lab scenarios that show that it works at all, and those whose VRF mode makes no difference
#   frr-10.3-all, frr-10.7-all  the same with all scenarios of the lab
#   kubernetes  source, status, manifests and lab with etcd, kube-apiserver, MetalLB, FRR-K8s and Multus, built once with Go
#   docker  the image of the Dockerfile, run, also as the Pods of a cluster, with a private Docker engine where none answers; its
#           last stage with the build of the other levels
#   docker-all  the same with the whole Dockerfile, and upgrades of routers with graceful restart
#   systemd the Debian package and its units under a real systemd: boot order, restarts, upgrade, reboot, removal
#   debian-13  the packages and the compiler of the README on Debian 13
#   vrf     vrf mode, in a guest whose kernel has VRF devices: kernel and FRR with the FRR of the machine, FRR with 10.7, and with it
#           the scenarios of the lab whose VRF mode makes a difference
#   vrf-all the same with all scenarios of the lab and all releases
# Without a LEVEL, those of `make test`: each scenario runs in one combination at least. `make test-all` runs all. A level
# whose requirements are missing is left out with the reason; with CI=true this is an error.
# The guest of `vrf` has one CPU and takes longest, so it starts first, and the other levels run meanwhile; the programs for `kubernetes` are
# built from the beginning, in otherwise idle time.
set -uo pipefail
cd "$(dirname "$0")/.."
levels=("${@:-fast fuzz metrics page netns frr-10.3 frr-10.7 kubernetes docker systemd vrf}")
read -ra levels <<<"${levels[*]}"
log=$(mktemp -d)
guests= builds=
trap 'for group in $guests $builds; do kill -- "-$group" 2>/dev/null; done; rm -rf "$log"' EXIT
status=0 total_passed=0 total_failed=0 total_ignored=0 repeated=0 table=()

# level NAME COMMAND...: runs it, shows its output, adds up its `test result:` lines in the table. With `repeat` set, up to three
# failed tests run once more.
level() {
  local name=$1 start=$SECONDS passed failed ignored again
  shift
  printf '\n== %s: %s\n' "$name" "$*"
  "$@" 2>&1 | tee "$log/out"
  local rc=${PIPESTATUS[0]}
  read -r passed failed ignored < <(awk '/^test result:/ { p += $4; f += $6; i += $8 } END { print p + 0, f + 0, i + 0 }' "$log/out")
  if [ "$rc" != 0 ]; then
    [ "$failed" -gt 0 ] || failed=1
    { printf '\n-- %s\n' "$name"; causes <"$log/out"; } >>"$log/failures"
    read -ra again < <(failed_tests <"$log/out" | tr '\n' ' ')
    [ -n "${repeat-}" ] && [ "${#again[@]}" -gt 0 ] && [ "${#again[@]}" -le 3 ] || again=()
    [ "${#again[@]}" -gt 0 ] || status=1 total_failed=$((total_failed + failed))
  fi
  total_passed=$((total_passed + passed)) total_ignored=$((total_ignored + ignored))
  table+=("$(printf '%-40s %7d %7d %7d %6ds' "$name" "$passed" "$failed" "$ignored" "${took:-$((SECONDS - start))}")")
  if [ "$rc" != 0 ] && [ "${#again[@]}" -gt 0 ]; then
    repeated=$((repeated + ${#again[@]}))
    if [ "$1" = replay ]; then
      repeat='' took='' level "$name, repeated" "${command[@]}" --exact "${again[@]}"
    else
      [[ " $* " == *" -- "* ]] || set -- "$@" --
      repeat='' level "$name, repeated" "$@" --exact "${again[@]}"
    fi
    return
  fi
  return "$rc"
}

# scenarios NAME COMMAND...: a level of tests that depend on the time that daemons and the machine take. One that fails runs once
# more, and the table says so.
scenarios() {
  repeat=yes level "$@"
}

# failed_tests: the names in the last list of failures of an output.
failed_tests() {
  awk '/^failures:$/ { names = "" } /^    [a-z_0-9:]+$/ { names = names $1 "\n" } END { printf "%s", names }'
}

# causes: the failed tests of an output, each with its message; without one, the last lines.
causes() {
  awk '/^test .* FAILED$/ { print; found = 1 }
    /^thread .* panicked at / { left = 12; found = 1 }
    /^stack backtrace:/ { left = 0 }
    left > 0 { print substr($0, 1, 1000); left-- }
    { last[NR % 20] = $0 }
    END { if (!found) for (i = NR > 20 ? NR - 19 : 1; i <= NR; i++) print substr(last[i % 20], 1, 1000) }'
}

# record NAME COMMAND...: runs it without output, for `replay`.
record() {
  local name=$1 start=$SECONDS
  shift
  "$@" >"$log/$name.out" 2>&1
  echo $? $((SECONDS - start)) >"$log/$name.end"
}

# replay NAME: shows the recorded output and returns the recorded status.
replay() {
  local rc
  cat "$log/$1.out"
  read -r rc _ <"$log/$1.end"
  return "$rc"
}

# missing LEVEL WHAT: notes that a level cannot run here.
missing() {
  echo "test.sh: level $1 is left out: $2" >&2
  table+=("$(printf '%-40s left out: %s' "$1" "$2")")
  [ "${CI-}" != true ] || status=1
}

# binary TEST: builds a test and prints its path.
binary() {
  cargo test --no-run --message-format=json --test "$1" 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | grep "/$1-" | tail -n 1
}

fast() {
  level "format" cargo fmt --all --check
  level "clippy" cargo clippy --quiet --workspace --all-targets -- -D warnings
  level "layers" hack/layers.sh
  level "licences" hack/licenses.sh
  if cargo deny --version >/dev/null 2>&1; then
    level "dependencies" hack/deny.sh
  else
    table+=("$(printf '%-40s left out: %s' "dependencies" "no cargo-deny (cargo install --locked cargo-deny)")")
  fi
  level "Helm chart" hack/helm.sh --check
  level "documentation" cargo test --quiet --test docs --test exit_status --test kubectl_plugin
  if hack/book.sh --find >/dev/null; then
    level "book" hack/book.sh
  else
    table+=("$(printf '%-40s left out: %s' "book" "no mdBook (make book installs it)")")
  fi
  level "Dockerfile's files" hack/dockerfile-build.sh
  level "unit, golden, property" cargo test --workspace --lib --bins
}

fuzz() {
  # As `fast` has built it.
  level "fuzz" env PEROUTER_FUZZ_SECONDS=40 cargo test --workspace --lib --bins mutated_inputs_are_processed -- --nocapture
}

# with_programs LEVEL SCRIPT NAME TEST: a test that needs the programs that a script gets.
with_programs() {
  local reason
  if ! reason=$("$2" 2>&1); then
    missing "$1" "$(tail -n 1 <<<"$reason")"
    return
  fi
  level "$3" cargo test --test "$4"
}

metrics() {
  with_programs metrics hack/prometheus.sh "metrics, alerts, dashboard" prometheus
}

page() {
  with_programs page hack/browser.sh page page
}

# Major and minor version of the machine's FRR.
frr=$(/usr/lib/frr/zebra --version | awk 'NR == 1 { split($3, part, "."); print part[1] "." part[2] }')

netns() {
  local name
  for test in tests/*.rs; do
    name=$(basename "$test" .rs)
    case $name in architecture | docs | exit_status | kubectl_plugin | lab | page | prometheus | vrf_mode | kubernetes_* | docker_*) continue ;; esac
    scenarios "netns, FRR $frr: $name" env PEROUTER_VRF_MODE=netns cargo test --test "$name"
  done
  level "netns, FRR $frr: lab runner" cargo test --workspace --test runner
  scenarios "netns, FRR $frr: lab" env PEROUTER_VRF_MODE=netns cargo test --test lab -- --test-threads=2
  level "netns, FRR $frr: demo" make demo-metallb
  level "netns, FRR $frr: demo of a segment" make demo-layer2
  # Not optimized: counts are compared with budgets, times are only shown.
  level "netns, FRR $frr: bench" cargo test --bench lab -- N=1,10 ROUTES=1,1000 MACS=100 RUNS=1 IDLE=5
}

# Demo, add, edit, remove, restart, isolation, and what two releases need. What only this release has, graceful restart with EVPN and
# IPv6 VTEPs, runs in the guest.
smoke=(lab::idempotence lab::isolation lab::l3vni_add_delete lab::l3vni_edits lab::restart lab::router_upgrade lab::service)

# Scenarios of policies of bgpd, commands and findings, which do not depend on how the kernel separates VRFs. With 10.7 they run in
# netns mode, natively; in the guest, which takes three times as long, only `vrf-all` runs them.
modeless=(lab::broken_fabrics::a_default_route lab::broken_fabrics::each_fault_of_the_fabric lab::broken_fabrics::without_controller
  lab::documentation lab::ebgp_ibgp lab::filters lab::from_host lab::metallb_advanced lab::monitoring lab::read_only_commands
  lab::rejection lab::route_targets lab::two_processes)

# has_frr RELEASE LEVEL: whether its root file system exists or can be built.
has_frr() {
  [ "$1" = "$frr" ] || hack/frr.sh "$1" >/dev/null || {
    missing "$2" "the root file system with FRR $1 cannot be built (hack/frr.sh $1)"
    return 1
  }
}

# frr_tests RELEASE SCENARIO...: the tests of FRR and these scenarios of the lab in netns mode with a release.
frr_tests() {
  local release=$1 name
  shift
  has_frr "$release" "netns, FRR $release" || return
  for name in frr_roundtrip frr_semantics frr_attributes frr_gobgp; do
    scenarios "netns, FRR $release: $name" env PEROUTER_VRF_MODE=netns PEROUTER_LAB_FRR="$release" cargo test --test "$name"
  done
  [ $# = 0 ] || scenarios "netns, FRR $release: lab" env PEROUTER_VRF_MODE=netns PEROUTER_LAB_FRR="$release" \
    cargo test --test lab -- --test-threads=2 "$@"
}

# What assets.sh builds for a cluster.
cluster_groups=(control-plane metallb helm multus)

# builds_begin: builds etcd, kube-apiserver, MetalLB, FRR-K8s and Multus in the background, in otherwise idle time.
builds_begin() {
  command -v go >/dev/null || return
  # A process group of its own, so that all of it can be stopped.
  set -m
  (
    for group in "${cluster_groups[@]}"; do
      chrt --idle 0 hack/kubernetes/assets.sh "$group" || exit
    done
  ) >"$log/builds" 2>&1 &
  builds=$!
  set +m
}

# cluster_programs LEVEL: builds etcd, kube-apiserver, MetalLB, FRR-K8s and Multus, or notes why LEVEL is left out.
cluster_programs() {
  local group
  if [ -n "$builds" ]; then
    # A build that failed is repeated below, where its output is shown.
    wait "$builds"
    builds=
  fi
  for group in "${cluster_groups[@]}"; do
    if ! hack/kubernetes/assets.sh --find "$group" >/dev/null 2>&1 && ! command -v go >/dev/null; then
      missing "$1" "$(hack/kubernetes/assets.sh "$group" 2>&1 | tail -n 1)"
      return 1
    fi
    level "$1: build $group" nice -n 19 hack/kubernetes/assets.sh "$group" || return
  done
}

kubernetes() {
  local test
  cluster_programs kubernetes || return
  for test in tests/kubernetes_*.rs; do
    test=$(basename "$test" .rs)
    scenarios "kubernetes: ${test#kubernetes_}" cargo test --test "$test" -- --nocapture
  done
}

# image [PROGRAM]: builds the image, with PROGRAM where it is named, and tests it.
image() {
  local test reason
  if ! reason=$(hack/dockerd.sh true 2>&1); then
    missing "docker" "$(tail -n 1 <<<"$reason")"
    return
  fi
  [ $# = 0 ] || level "docker: build perouter" cargo build --bin perouter || return
  level "docker: build" hack/dockerd.sh hack/docker-build.sh perouter:test "$@" || return
  for test in tests/docker_*.rs; do
    test=$(basename "$test" .rs)
    if [ "$test" = docker_kubernetes ]; then
      cluster_programs "docker: kubernetes" || continue
      # Of the leaves, for the upgrade with graceful restart.
      has_frr 10.7 "docker: kubernetes" || continue
    fi
    # With PROGRAM, without the upgrades with graceful restart, which take five minutes.
    scenarios "docker: ${test#docker_}" env PEROUTER_IMAGE=perouter:test hack/dockerd.sh cargo test --test "$test" -- --nocapture \
      --test-threads=1 ${1:+--skip router_upgrade}
  done
}

systemd() {
  local reason
  if ! reason=$(hack/systemd.sh --probe 2>&1); then
    missing "systemd" "$(tail -n 1 <<<"$reason")"
    return
  fi
  level "systemd: build" cargo build --workspace --bins
  level "systemd: package and units" hack/systemd.sh
}

debian_13() {
  has_frr 10.3 debian-13 && level "debian-13: setup and build" hack/debian13.sh
}

# RELEASE:TEST, in the order in which they run.
guest_runs=("$frr:kernel_netns" "$frr:vrf_mode" 10.7:vrf_mode 10.7:lab)
guest_skips=("${modeless[@]/#/--skip=}")
guest_timeout=7200

# guest_command RELEASE:TEST: sets `command`. A guest has one CPU and starts processes slowly. It determines the total time, so it
# has priority; the other levels mostly wait.
guest_command() {
  local release=${1%%:*} name=${1#*:}
  [ "$release" != "$frr" ] || release=
  command=(nice -n -10 env PEROUTER_VRF_MODE=vrf PEROUTER_LAB_FRR="$release" PEROUTER_LAB_SLOWNESS="${PEROUTER_LAB_SLOWNESS-4}"
    hack/vm/run.sh -t "$guest_timeout" -- "$(cat "$log/$name.binary")" --test-threads=1)
  [ "$name" != lab ] || command+=("${guest_skips[@]}")
}

# vrf_begin: starts the guests, one after the other.
vrf_begin() {
  local run release name reason
  # The guest's kernel is in the root file system of 10.7.
  for release in 10.7 $(printf '%s\n' "${guest_runs[@]%%:*}" | sort -u); do
    has_frr "$release" "vrf, FRR $release" || return
  done
  # It fires alerts in the lab, where its absence is an error only with CI=true.
  if ! reason=$(hack/prometheus.sh 2>&1); then
    echo "test.sh: alerts are not fired in the guest: $(tail -n 1 <<<"$reason")" >&2
  fi
  for name in $(printf '%s\n' "${guest_runs[@]#*:}" | sort -u); do
    if ! binary "$name" >"$log/$name.binary" || [ ! -s "$log/$name.binary" ]; then
      level "vrf: $name" cargo test --no-run --test "$name"
      return
    fi
  done
  # A process group of its own, so that all of it can be stopped.
  set -m
  (
    for run in "${guest_runs[@]}"; do
      guest_command "$run"
      record "$run" "${command[@]}"
    done
  ) &
  guests=$!
  set +m
}

# vrf_end: waits for the guests and shows their results.
vrf_end() {
  local run took
  wait "$guests"
  guests=
  for run in "${guest_runs[@]}"; do
    read -r _ took <"$log/$run.end"
    guest_command "$run"
    scenarios "vrf, FRR ${run%%:*}: ${run#*:}" replay "$run"
  done
}

# requested LEVEL: whether it is to run.
requested() { [[ " ${levels[*]} " == *" $1 "* ]]; }

if requested vrf-all; then
  guest_runs=("$frr:kernel_netns" {"$frr",10.3,10.7}:{vrf_mode,lab}) guest_skips=() levels=("${levels[@]/#vrf-all/vrf}")
fi

if requested kubernetes || requested docker || requested docker-all; then builds_begin; fi
if requested vrf; then vrf_begin; fi
for name in "${levels[@]}"; do
  case $name in
    fast | fuzz | metrics | page | netns | kubernetes | systemd) $name ;;
    docker) image target/debug/perouter ;;
    docker-all) image ;;
    debian-13) debian_13 ;;
    frr-10.3) frr_tests 10.3 ;;
    frr-10.7) frr_tests 10.7 "${smoke[@]}" "${modeless[@]}" ;;
    frr-10.3-all | frr-10.7-all)
      release=${name%-all}
      frr_tests "${release#frr-}" lab
      ;;
    vrf) [ -z "$guests" ] || vrf_end ;;
    *) echo "test.sh: unknown level $name: fast, fuzz, metrics, page, netns, frr-10.3[-all], frr-10.7[-all], kubernetes, docker[-all], systemd, debian-13, vrf or vrf-all" >&2; exit 2 ;;
  esac
done

if [ -s "$log/failures" ]; then
  printf '\n== failures\n'
  cat "$log/failures"
fi
printf '\n%-40s %7s %7s %7s %7s\n' level passed failed skipped time
printf '%s\n' "${table[@]}"
echo
echo "$total_passed passed, $total_failed failed, $total_ignored skipped"
[ "$repeated" = 0 ] || echo "$repeated failed once and ran again: see the failures above"
exit $status
