#!/usr/bin/env bash
# frr.sh [--find] RELEASE: builds a root file system of the Debian suite that has this release of FRR, for lab nodes with that image,
# and prints its path: ${PEROUTER_FRR_ROOTS:-${XDG_CACHE_HOME:-$HOME/.cache}/perouter}/frr-RELEASE. 10.3 is in trixie,
# 10.7 in forky. It is built once, in a temporary directory that is renamed at the end, so that what exists is complete. The
# signature of the suite is checked with the keys of the package debian-archive-keyring. As root; needs debootstrap and a
# Debian mirror (PEROUTER_DEBIAN_MIRROR). With --find it builds nothing, and prints nothing if there is none.
set -euo pipefail

find=
if [ "${1-}" = --find ]; then
  find=yes
  shift
fi
release=${1-}
# Packages beyond those that every node needs. User-Mode Linux of forky starts processes faster than that of Debian 12.
case $release in
  10.3) suite=trixie extra='' ;;
  10.7) suite=forky extra=user-mode-linux ;;
  *) echo "frr.sh: usage: frr.sh [--find] 10.3|10.7" >&2; exit 2 ;;
esac
root=${PEROUTER_FRR_ROOTS:-${XDG_CACHE_HOME:-$HOME/.cache}/perouter}/frr-$release
mirror=${PEROUTER_DEBIAN_MIRROR:-http://deb.debian.org/debian}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
# A root file system that was built by another recipe is built again.
recipe=4
if [ "$(cat "$root/.perouter-recipe" 2>/dev/null)" = $recipe ]; then
  echo "$root"
  exit 0
fi
[ -z "$find" ] || exit 1
[ "$(id -u)" = 0 ] || { echo "frr.sh: needs root" >&2; exit 1; }
for need in debootstrap:debootstrap "$keyring:debian-archive-keyring"; do
  command -v "${need%%:*}" >/dev/null || [ -e "${need%%:*}" ] || {
    echo "frr.sh: ${need%%:*} is missing: apt-get install --no-install-recommends ${need#*:}" >&2
    exit 1
  }
done
# debootstrap of Debian 12 has no script for forky; that of sid is the same.
script=/usr/share/debootstrap/scripts/$suite
[ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid

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
  echo "building a root file system of $suite with FRR $release in $root (about 400 MB, once)"
  debootstrap --variant=minbase --force-check-gpg --keyring="$keyring" "$suite" "$staging" "$mirror" "$script" \
    >"$root.log" 2>&1 || {
    tail -n 20 "$root.log"
    echo "frr.sh: debootstrap failed; if a key is unknown, upgrade the package debian-archive-keyring"
    exit 1
  }
  # No package may start a daemon in it.
  printf '#!/bin/sh\nexit 101\n' >"$staging/usr/sbin/policy-rc.d"
  chmod 755 "$staging/usr/sbin/policy-rc.d"
  # Not by debootstrap --include, which cannot order FRR's dependencies.
  unshare --mount --pid --fork --kill-child chroot "$staging" sh -c "
    mount -t proc proc /proc
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y --no-install-recommends frr iproute2 iputils-ping procps kmod curl tcpdump util-linux nftables \
      bird2 gobgpd openvswitch-switch containernetworking-plugins $extra &&
    apt-get clean" >>"$root.log" 2>&1 </dev/null || { tail -n 20 "$root.log"; exit 1; }
  version=$(chroot "$staging" /usr/lib/frr/zebra --version | awk 'NR == 1 { print $3 }')
  case $version in
    "$release" | "$release".*) ;;
    *)
      echo "frr.sh: $suite has FRR $version, not $release"
      exit 1
      ;;
  esac
} >&2
echo $recipe >"$staging/.perouter-recipe"
chmod 755 "$staging"
rm -rf "$root"
mv -T "$staging" "$root"
trap - EXIT
rm -f "$root.log"
echo "$root"
