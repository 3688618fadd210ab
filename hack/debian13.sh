#!/usr/bin/env bash
# debian13.sh: the first command of the README on Debian 13: `make setup` finds all packages there, and cargo builds with what they
# bring. In a copy of the root file system of Debian 13 (hack/frr.sh 10.3) whose changes are lost at the end, with the Rust
# toolchain of the machine. Exit status 3, with the reason, where that is not possible. As root.
set -euo pipefail
cd "$(dirname "$0")/.."

cannot() { echo "debian13.sh: $*" >&2; exit 3; }
[ "$(id -u)" = 0 ] || cannot "needs root"
root=$(hack/frr.sh 10.3) || cannot "no root file system of Debian 13"
toolchain=$(rustc --print sysroot)
work=$(mktemp -d /tmp/perouter-debian13.XXXXXX)
trap 'rmdir "$work"' EXIT

unshare --mount --pid --fork --kill-child --propagation private bash -euo pipefail -s "$root" "$toolchain" "$work" <<'END'
root=$1 toolchain=$2 work=$3
mount -t tmpfs tmpfs "$work"
mkdir "$work"/{upper,work,root}
mount -t overlay overlay -o "lowerdir=$root,upperdir=$work/upper,workdir=$work/work" "$work/root"
mkdir -p "$work/root/src" "$work/root$toolchain"
mount --bind -o ro . "$work/root/src"
mount --bind -o ro "$toolchain" "$work/root$toolchain"
mount -t proc proc "$work/root/proc"
mount -t devpts devpts "$work/root/dev/pts"
# A mirror that is a snapshot has an expired Release file.
echo 'Acquire::Check-Valid-Until "false";' >"$work/root/etc/apt/apt.conf.d/snapshot"
# What the README expects to be there.
chroot "$work/root" sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends make >/dev/null' </dev/null
cat >"$work/root/check.sh" <<'CHECK'
set -eu
. /etc/os-release
[ "$VERSION_ID" = 13 ] || { echo "this is $PRETTY_NAME" >&2; exit 1; }
cd /src
make --no-print-directory setup
[ -z "$(make --no-print-directory setup)" ] || { echo "a second setup has something to do" >&2; exit 1; }
# It links with the compiler and the C library of the packages.
cargo init --quiet --vcs none --name check /tmp/check
cd /tmp/check
cargo run --quiet
echo "Debian $(cat /etc/debian_version), FRR $(/usr/lib/frr/zebra --version | awk 'NR == 1 { print $3 }'), $(cc --version | head -n 1)"
CHECK
chroot "$work/root" env -i PATH="$toolchain/bin:/usr/sbin:/usr/bin:/sbin:/bin" HOME=/root sh /check.sh </dev/null
# As cargo says it, for hack/test.sh.
echo "test result: ok. 1 passed; 0 failed; 0 ignored"
END
