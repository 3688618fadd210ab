#!/usr/bin/env bash
# systemd.sh [--keep|--probe]: the Debian package and its units under a real systemd, as on a node: installed by dpkg, booted, restarted, killed,
# upgraded, rebooted, removed. systemd is PID 1 of PID, mount, cgroup and UTS namespaces, on an overlay of the root file system with
# FRR 10.7 (hack/frr.sh), in the network namespace of a lab node that has a leaf with FRR. The kernel is that of the machine, so the
# units run in the VRF mode that it has. Exit status 3, with the reason, where that is not possible: --probe does nothing else.
# --keep leaves the node running.
set -euo pipefail
cd "$(dirname "$0")/.."

cannot() { echo "systemd.sh: $*" >&2; exit 3; }
[ "$(id -u)" = 0 ] || cannot "needs root"
root=$(hack/frr.sh 10.7) || cannot "no root file system with FRR 10.7 and systemd"
[ -x "$root/usr/lib/systemd/systemd" ] || cannot "$root has no systemd"
unshare --pid --fork --mount --cgroup --uts --ipc true || cannot "no PID, mount and cgroup namespaces on this machine"

[ "${1-}" != --probe ] || exit 0
keep=
[ "${1-}" != --keep ] || keep=yes
lab=perouter-systemd
work=$(mktemp -d /tmp/perouter-systemd.XXXXXX)
# An overlay cannot have its changes on another one, as in a container.
mount -t tmpfs tmpfs "$work"
passed=0 failed=0 boot=

finish() {
  local rc=$?
  [ -z "$keep" ] || { echo "node: nsenter -a -t $(cat "$work/pid") bash; lab: perouter-lab destroy --name $lab"; exit "$rc"; }
  power_off
  target/debug/perouter-lab destroy -t clab/bench.clab.yml --name $lab >/dev/null 2>&1 || true
  umount --lazy "$work" || true
  rmdir "$work" || true
  [ "$rc" != 0 ] || [ "$failed" = 0 ] || rc=1
  exit "$rc"
}

# on_node COMMAND...: runs it beside systemd.
on_node() { nsenter -t "$(cat "$work/pid")" --pid --mount --cgroup --uts --ipc --net -- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb "$@"; }

# ok WHAT COMMAND...: whether the command succeeds; ok_not: whether it fails.
ok() {
  local what=$1 output
  shift
  if output=$("$@" 2>&1); then
    passed=$((passed + 1)) && echo "ok    $what"
  else
    failed=$((failed + 1)) && printf 'FAIL  %s: %s\n%s\n' "$what" "$*" "$output"
  fi
}
fails() { ! "$@"; }

# until_ok SECONDS COMMAND...: waits until it succeeds.
until_ok() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || { "$@"; return; }
    sleep 0.2
  done
}

power_on() {
  # A veth goes with the namespace that it is in, where a NIC returns to the host.
  ip -n "clab-$lab-node" link show toswitch >/dev/null 2>&1 ||
    until_ok 10 ip -n "clab-$lab-leaf" link add node type veth peer name toswitch netns "clab-$lab-node"
  ip -n "clab-$lab-leaf" link set node up
  mkdir -p "$work/root"
  nsenter --net="/run/netns/clab-$lab-node" unshare --mount --propagation private \
    bash hack/systemd/boot.sh "$root" "$work" >"$work/console" 2>&1 9>&- &
  boot=$!
  until_ok 20 test -s "$work/pid" || { cat "$work/console"; return 1; }
  until_ok 60 on_node sh -c 'systemctl is-system-running | grep -E "running|degraded"' ||
    { on_node systemctl --no-pager list-jobs; tail -n 30 "$work/console"; return 1; }
}

power_off() {
  [ -n "$boot" ] || return 0
  # SIGRTMIN+4 is poweroff.target.
  local end=$((SECONDS + 30)) init
  init=$(cat "$work/pid" 2>/dev/null) || init=none
  kill -s "$((34 + 4))" "$init" 2>/dev/null || true
  while [ -e "/proc/$init" ] && [ "$SECONDS" -lt "$end" ]; do sleep 0.2; done
  kill -KILL "$init" 2>/dev/null || true
  wait "$boot" 2>/dev/null || true
  boot='' && rm -f "$work/pid"
}

property() { on_node systemctl show --value --property "$2" "$1"; }
main_pid() { property "perouter-$1.service" MainPID; }
frr_pids() { on_node sh -c "pgrep --full '^/usr/lib/frr/(mgmtd|zebra|bgpd|bfdd|staticd)' | sort"; }
status() { on_node perouter status -o json; }
established() {
  status | tr -d ' \n' | grep -qE '"peer":"192\.168\.11\.2","prefixes":\{("[^"]*":\{[^}]*\},?)*\},[^}]*"state":"Established"'
}
established_count() { status | tr -d ' \n' | grep -o '"established":[0-9]*,"peer":"192\.168\.11\.2"' | grep -o '"established":[0-9]*' | head -n 1; }
state() { [ "$(property "$1" "$2")" = "$3" ] || { echo "$1: $2 is $(property "$1" "$2")"; return 1; }; }
before() {
  local first second
  first=$(property "$1" ActiveEnterTimestampMonotonic) second=$(property "$2" ActiveEnterTimestampMonotonic)
  [ "$first" -gt 0 ] && [ "$first" -le "$second" ] || { echo "$1 at $first, $2 at $second"; return 1; }
}
nic_is_home() { on_node ip -br address show toswitch | grep -q 192.168.11.3/24; }
same() { [ "$1" = "$2" ] || { echo "before: $1"; echo "after: $2"; return 1; }; }

# quadlets: the units that podman's generator makes of deploy/podman. podman is unpacked from the suite and not installed on the node.
quadlets() {
  unshare --mount --propagation private bash -euo pipefail -s "$root" <<'END'
mount -t tmpfs tmpfs "$1/tmp"
cp -r deploy/podman "$1/tmp/units"
chroot "$1" sh -euc 'cd /tmp && apt-get download -qq podman && dpkg -x podman_*.deb podman' </dev/null >/dev/null
chroot "$1" env QUADLET_UNIT_DIRS=/tmp/units /tmp/podman/usr/libexec/podman/quadlet -dryrun 2>&1 </dev/null
END
}

echo "== quadlets"
generated=$(quadlets) || echo "the generator fails: $generated"
ok "both are generated" test "$(grep -c '^ExecStart=.*podman run --name perouter-' <<<"$generated")" = 2
ok "no key is unknown" fails grep -iE 'unsupported|error|warn' <<<"$generated"
ok "none is ordered after network-online" fails grep 'After=.*network-online' <<<"$generated"

echo "== package"
trap finish EXIT
hack/deb.sh --no-build --profile dev --fast --strip --output "$work/" >/dev/null
target/debug/perouter-lab deploy -t clab/bench.clab.yml --name $lab >/dev/null
# The address is given by systemd-networkd at boot.
ip netns exec "clab-$lab-node" ip address flush dev toswitch
# Another NIC, for which network-online.target waits.
ip netns exec "clab-$lab-node" ip link add eth0 type veth peer name eth0-peer
ip netns exec "clab-$lab-node" ip link set eth0-peer up
mkdir -p "$work/files"
cp "$work"/*.deb "$work/files/perouter.deb"
cp -r hack/systemd/node/. "$work/files/"

echo "== first boot"
power_on
ok "installed by dpkg" on_node dpkg -i /files/perouter.deb
ok "nothing runs before it is configured" fails on_node systemctl is-active perouter-router.service perouter-controller.service
ok "units are complete (systemd-analyze verify)" on_node sh -c \
  '! systemd-analyze verify --man=no perouter-router.service perouter-controller.service 2>&1 | grep perouter'
ok "sysusers and tmpfiles" on_node sh -c 'id frr | grep -q frrvty && [ "$(stat -c %a /var/lib/perouter /etc/perouter/secrets | sort -u)" = 700 ]'
for unit in router:55 controller:44; do
  score=$(on_node systemd-analyze security --offline=true --no-pager "/usr/lib/systemd/system/perouter-${unit%:*}.service" | tail -n 1)
  echo "      $score"
  ok "exposure of perouter-${unit%:*} at most ${unit#*:} tenths" test "$(sed 's/.*: \([0-9]*\)\.\([0-9]\).*/\1\2/' <<<"$score")" -le "${unit#*:}"
done
on_node sh -c 'cp -r /files/etc/. /etc/ && systemctl daemon-reload && systemctl disable -q --now frr && systemctl enable -q perouter-router perouter-controller kubelet systemd-networkd'

echo "== boot with the API server away (source both, no kubeconfig yet)"
power_off
power_on
for unit in router controller; do ok "perouter-$unit is active" until_ok 20 state perouter-$unit.service ActiveState active; done
ok "kubelet is active" until_ok 20 state kubelet.service ActiveState active
ok "router before controller" before perouter-router.service perouter-controller.service
ok "controller before network-online" before perouter-controller.service network-online.target
ok "network-online before kubelet" before network-online.target kubelet.service
ok "kubelet finds the host end of the veth" on_node grep -q host-100 /run/kubelet-links
ok "the index is that of the address of the NIC" on_node sh -c 'perouter status -o json | tr -d " \n" | grep -q "\"vtep\":\"100.65.0.1\""'
ok "the fabric session is established" until_ok 60 established
ok "no process of the units has a mount namespace of its own" on_node sh -c \
  'for unit in router controller; do [ "$(readlink /proc/$(systemctl show --value -p MainPID perouter-$unit)/ns/mnt)" = "$(readlink /proc/1/ns/mnt)" ] || exit 1; done'
ok "seccomp and no new privileges are in force" on_node sh -c \
  'for unit in router controller; do grep -q "^Seccomp:.2" /proc/$(systemctl show --value -p MainPID perouter-$unit)/status && grep -q "^NoNewPrivs:.1" /proc/$(systemctl show --value -p MainPID perouter-$unit)/status || exit 1; done'
ok "waits for a kubeconfig" on_node sh -c 'journalctl -q -u perouter-controller | grep -q "no credentials for the API server yet"'

echo "== restarts"
daemons=$(frr_pids) count=$(established_count)
on_node systemctl restart perouter-router perouter-controller
ok "FRR is adopted by a restart" same "$daemons" "$(frr_pids)"
for unit in router controller; do
  old=$(main_pid $unit)
  on_node kill -KILL "$old"
  ok "perouter-$unit is restarted after SIGKILL" until_ok 10 on_node sh -c "systemctl is-active -q perouter-$unit && [ \$(systemctl show --value -p MainPID perouter-$unit) != $old ]"
done
ok "FRR is adopted after SIGKILL" same "$daemons" "$(frr_pids)"
on_node sh -c 'mkdir -p /run/systemd/system/perouter-controller.service.d && printf "[Service]\nWatchdogSec=2\n" >/run/systemd/system/perouter-controller.service.d/watchdog.conf && systemctl daemon-reload && systemctl restart perouter-controller'
old=$(main_pid controller)
on_node kill -STOP "$old"
ok "the watchdog replaces a controller that hangs" until_ok 15 on_node sh -c "systemctl is-active -q perouter-controller && [ \$(systemctl show --value -p MainPID perouter-controller) != $old ]"
on_node sh -c 'rm -r /run/systemd/system/perouter-controller.service.d && systemctl daemon-reload'
ok "an upgrade of the package restarts the units" on_node dpkg -i /files/perouter.deb
ok "units are active after the upgrade" until_ok 20 on_node systemctl is-active perouter-router perouter-controller
ok "FRR is adopted after the upgrade" same "$daemons" "$(frr_pids)"
ok "no session was closed by any of this" same "$count" "$(until_ok 20 established && established_count)"
on_node systemctl stop perouter-controller perouter-router
ok "FRR stays when the units are stopped" same "$daemons" "$(frr_pids)"
on_node systemctl start perouter-router perouter-controller
ok "FRR is adopted by a start" same "$daemons" "$(frr_pids)"
ok "the log has no denied call" on_node sh -c '! journalctl -q -u perouter-router -u perouter-controller | grep -i "operation not permitted"'

echo "== reboot"
power_off
power_on
ok "kubelet is active after a reboot" until_ok 20 state kubelet.service ActiveState active
ok "the fabric session is established after a reboot" until_ok 40 established

echo "== removal"
ok "removed by dpkg" on_node dpkg -r perouter
ok "the NIC is back with its address" until_ok 10 nic_is_home
ok "no daemon of FRR is left" on_node sh -c '! pgrep --full ^/usr/lib/frr/'
ok "no namespace and no link is left" on_node sh -c '! ls /run/netns/perouter /run/perouter 2>/dev/null && ! ip link show host-100 2>/dev/null'
ok "purged by dpkg" on_node dpkg -P perouter
ok "no state is left" fails on_node ls /var/lib/perouter

echo
[ "$failed" = 0 ] && result=ok || result=FAILED
echo "test result: $result. $passed passed; $failed failed; 0 ignored"
[ "$failed" = 0 ] || on_node journalctl -q --no-pager -n 80 -u perouter-router -u perouter-controller || true
