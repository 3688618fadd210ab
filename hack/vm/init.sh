#!/bin/bash
# Process 1 of the guest that run.sh starts. In: the kernel arguments perouter.modules and perouter.share, both directories of
# the host, and perouter.host, under which the process of the guest finds the host's root. Out: SHARE/output and SHARE/status of SHARE/command. It must not write anywhere else on the host.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LANG=C.UTF-8
argument() { sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" /proc/cmdline; }

if [ "${1-}" != in-overlay ]; then
  mount -n -t proc proc /proc
  modules=$(argument perouter.modules) share=$(argument perouter.share) host=$(argument perouter.host)
  mount -n -t tmpfs -o mode=755 none /mnt
  mkdir -p /mnt/upper /mnt/work /mnt/root /mnt/base/lib/modules
  mount -n -t hostfs -o "$modules" none /mnt/base/lib/modules
  modprobe -d /mnt/base overlay
  mount -n -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
  mkdir -p "/mnt/root$share" /mnt/root/lib/modules
  mount -n -t hostfs -o "$modules" none /mnt/root/lib/modules
  mount -n -t hostfs -o "$host$share" none "/mnt/root$share"
  umount -n /proc
  cd /mnt/root || exit 1
  mount -n --move . /
  exec chroot . "$0" in-overlay
fi

mount -n -t proc proc /proc
mountpoint -q /sys || mount -n -t sysfs sysfs /sys
mountpoint -q /dev || mount -n -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -n -t devpts devpts /dev/pts
for folder in /dev/shm /tmp; do
  [ $folder = /tmp ] || mount -n -t tmpfs -o mode=1777 none $folder
done
mount -n -t tmpfs -o mode=755 none /run
mkdir -p /run/netns /run/lock
ln -sfn /proc/self/fd /dev/fd
mount -n -t cgroup2 none /sys/fs/cgroup
for module in vrf vxlan bridge veth dummy sch_netem nf_tables openvswitch tun; do modprobe -q $module; done
ip link set lo up
hostname "perouter-vm"
share=$(argument perouter.share)

# The host sees what was written after a sync.
(while sleep 5; do sync -f "$share/output"; done) &
bash "$share/command" </dev/null >>"$share/output" 2>&1
status=$?
sync -f "$share/output"
echo "$status" >"$share/status"
sync -f "$share/status"
echo o >/proc/sysrq-trigger
sleep 30
