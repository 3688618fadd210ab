#!/usr/bin/env bash
# Builds a root file system of Debian trixie with its FRR 10.3, for lab nodes with that image, and prints its path:
# $PEROUTER_FRR10_ROOT, or ${XDG_CACHE_HOME:-$HOME/.cache}/perouter/frr10. It is built once, in a temporary directory that is
# renamed at the end, so that what exists is complete. As root; needs debootstrap and a Debian mirror.
set -euo pipefail

root=${PEROUTER_FRR10_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/perouter/frr10}
mirror=${PEROUTER_DEBIAN_MIRROR:-http://deb.debian.org/debian}
# A root file system that was built by another recipe is built again.
recipe=2
if [ "$(cat "$root/.perouter-recipe" 2>/dev/null)" = $recipe ]; then
  echo "$root"
  exit 0
fi
[ "$(id -u)" = 0 ] || { echo "frr10.sh: needs root" >&2; exit 1; }
command -v debootstrap >/dev/null || {
  echo "frr10.sh: debootstrap is missing: apt-get install --no-install-recommends debootstrap" >&2
  exit 1
}

mkdir -p "$(dirname "$root")"
# Concurrent runs wait for each other, and the second one finds the result of the first.
exec 9>"$root.lock"
flock 9
if [ "$(cat "$root/.perouter-recipe" 2>/dev/null)" = $recipe ]; then
  echo "$root"
  exit 0
fi
staging=$(mktemp -d "$root.XXXXXX")
trap 'rm -rf "$staging"' EXIT
{
  echo "building a root file system of trixie with FRR 10.3 in $root (about 400 MB, once)"
  debootstrap --variant=minbase trixie "$staging" "$mirror" >"$root.log" 2>&1 || { tail -n 20 "$root.log"; exit 1; }
  # No package may start a daemon in it.
  printf '#!/bin/sh\nexit 101\n' >"$staging/usr/sbin/policy-rc.d"
  chmod 755 "$staging/usr/sbin/policy-rc.d"
  # Not by debootstrap --include, which cannot order FRR's dependencies.
  unshare --mount --pid --fork --kill-child chroot "$staging" sh -c '
    mount -t proc proc /proc
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y --no-install-recommends frr iproute2 iputils-ping procps kmod curl tcpdump util-linux nftables bird2 gobgpd &&
    apt-get clean' >>"$root.log" 2>&1 </dev/null || { tail -n 20 "$root.log"; exit 1; }
  "$staging/usr/lib/frr/zebra" --version 2>/dev/null | grep -q ' 10\.3' || chroot "$staging" /usr/lib/frr/zebra --version | grep ' 10\.3'
} >&2
echo $recipe >"$staging/.perouter-recipe"
chmod 755 "$staging"
rm -rf "$root"
mv -T "$staging" "$root"
trap - EXIT
rm -f "$root.log"
echo "$root"
