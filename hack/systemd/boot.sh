#!/usr/bin/env bash
# boot.sh ROOT WORK: starts systemd as PID 1 on an overlay of ROOT, whose changes are in WORK; its PID is in WORK/pid. In a mount
# namespace of its own, in the network namespace of the node. WORK/files is /files.
set -euo pipefail
root=$1 work=$2
mkdir -p "$work"/{upper,overlay,cgroup}
mount -t overlay overlay -o "lowerdir=$root,upperdir=$work/upper,workdir=$work/overlay" "$work/root"
# A part of the tree of cgroup v2 for this systemd alone; it becomes the root of its cgroup namespace.
mount -t cgroup2 cgroup2 "$work/cgroup"
tree=$work/cgroup/$(basename "$work")
mkdir -p "$tree"
echo $$ >"$tree/cgroup.procs"
unshare --mount --cgroup --pid --fork --uts --ipc --kill-child bash -c '
  set -eu
  new=$1
  hostname pe-kind-control-plane
  cd "$new"
  mkdir -p proc sys dev run tmp files
  mount -t proc proc proc
  mount -t sysfs sysfs sys -o ro
  mount -t cgroup2 cgroup2 sys/fs/cgroup
  mount -t tmpfs tmpfs run -o mode=755
  mount -t tmpfs tmpfs tmp -o mode=1777
  mount -t tmpfs tmpfs dev -o mode=755
  for device in null zero full random urandom tty; do touch dev/$device; mount --bind /dev/$device dev/$device; done
  mkdir dev/pts dev/shm
  mount -t devpts devpts dev/pts -o newinstance,ptmxmode=0666,mode=620
  ln -s pts/ptmx dev/ptmx
  mount -t tmpfs tmpfs dev/shm -o mode=1777
  ln -s /proc/self/fd dev/fd
  mount --bind "$2/files" files
  pivot_root . mnt
  umount -l mnt
  mount --make-rshared /
  exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb /usr/lib/systemd/systemd --log-target=console --show-status=no
' boot "$work/root" "$work" </dev/null &
child=$!
# The child of unshare is PID 1 of the namespace.
until pid=$(cat "/proc/$child/task/$child/children") && [ -n "${pid// /}" ]; do sleep 0.05; done
echo "${pid// /}" >"$work/pid.new" && mv "$work/pid.new" "$work/pid"
wait "$child" || true
echo $$ >"$work/cgroup/cgroup.procs"
find "$tree" -depth -type d -exec rmdir {} + || true
