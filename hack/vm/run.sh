#!/usr/bin/env bash
# run.sh [-m MEMORY] [-t SECONDS] [-k] -- COMMAND [ARGUMENT...]
# Runs a command as root on a kernel that has VRF devices: User-Mode Linux, an ordinary process. Its root file system is
# that of the host under a temporary overlay: everything that is installed or built on the host is available, and the
# host does not see what the command writes. Output and exit status are the command's; 124 on timeout, 125 if the guest crashed.
#   -m  memory of the guest (default 2560M)
#   -t  time limit in seconds (default 600)
#   -k  show the messages of the guest kernel at the end
# Variables that are passed on: CI, NO_COLOR, RUST_*, PEROUTER_*, PROPTEST_*, KEEP. PEROUTER_VM_CPU selects the CPU.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

memory=2560M limit=600 show_kernel=
while getopts m:t:k option; do
  case $option in
    m) memory=$OPTARG ;;
    t) limit=$OPTARG ;;
    k) show_kernel=1 ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
done
shift $((OPTIND - 1))
[ "${1-}" != -- ] || shift
[ $# -gt 0 ] || { echo "run.sh: a command is missing" >&2; exit 2; }

# The kernel of Debian forky starts processes faster than that of Debian 12. It runs in its own root file system, which
# `hack/frr.sh 10.7` has built, and finds the host's under /mnt of it.
root=$("$here/../frr.sh" --find 10.7 || true)
if [ -n "$root" ] && [ -x "$root/usr/bin/linux.uml" ]; then
  host=/mnt options=seccomp=on
else
  root='' host='' options=''
  if ! command -v linux.uml >/dev/null || [ ! -d /usr/lib/uml/modules ]; then
    echo "run.sh: User-Mode Linux is missing: apt-get install --no-install-recommends user-mode-linux" >&2
    exit 125
  fi
fi
[ "$(id -u)" = 0 ] || { echo "run.sh: needs root, to keep the guest from writing to the host" >&2; exit 125; }

share=$(mktemp -d /tmp/perouter-vm.XXXXXX)
guest='' reader=''
end() {
  trap - EXIT INT TERM
  [ -z "$guest" ] || kill "$guest" 2>/dev/null || true
  [ -z "$reader" ] || kill "$reader" 2>/dev/null || true
  rm -rf "$share"
}
trap end EXIT
trap 'end; exit 143' TERM
trap 'end; exit 130' INT

{
  for name in $(compgen -e); do
    case $name in
      CI | NO_COLOR | KEEP | RUST_* | PEROUTER_* | PROPTEST_* | XDG_CACHE_HOME) printf 'export %s=%q\n' "$name" "${!name}" ;;
    esac
  done
  printf 'cd %q\n' "$PWD"
  printf 'exec'
  printf ' %q' "$@"
  echo
} >"$share/command"
: >"$share/output"

# The kernel of Debian 12 does not start on a CPU with AMX without it, see xstate.c. Rust needs a C compiler for linking, so
# there is one.
preload=
if [ -z "$root" ] && grep -qw amx_tile /proc/cpuinfo; then
  preload=$share/xstate.so
  cc -O1 -shared -fPIC -o "$preload" "$here/xstate.c" -ldl
fi

# One CPU: with two the guest is less than half as fast. Its memory is a file, therefore on a tmpfs.
cpu=${PEROUTER_VM_CPU:-$((RANDOM % $(nproc)))}
export share memory limit cpu root host options here preload
# shellcheck disable=SC2016
unshare --mount --propagation private bash -c '
  mount --bind "$share" "$share"
  if [ -n "$root" ]; then
    mount --bind "$root" "$root"
    mount --rbind / "$root$host"
    for folder in /proc /dev; do mount --rbind $folder "$root$folder"; done
  fi
  mount -o remount,bind,ro "${root:-/}$host"
  TMPDIR=/dev/shm exec taskset -c "$cpu" timeout -k 5 "$limit" env LD_PRELOAD="$preload" ${root:+chroot "$root"} \
    linux.uml $options mem="$memory" root=/dev/root rootfstype=hostfs rootflags="${host:-/}" ro quiet loglevel=4 panic=-1 \
    uml_dir=/dev/shm/perouter-uml con=null con0=null,fd:1 ssl=null \
    init="$here/init.sh" perouter.modules=/usr/lib/uml/modules perouter.host="$host" perouter.share="$share"' \
  </dev/null >"$share/kernel" 2>&1 &
guest=$!
tail -n +1 -s 0.1 -f --pid="$guest" "$share/output" &
reader=$!
status=0
wait "$guest" || status=$?
guest=''
wait "$reader" || true
reader=''
[ -z "$show_kernel" ] || cat "$share/kernel" >&2
if [ -s "$share/status" ]; then
  exit "$(cat "$share/status")"
fi
if [ "$status" = 124 ] || [ "$status" = 137 ]; then
  echo "run.sh: the guest was stopped after $limit s" >&2
  exit 124
fi
cat "$share/kernel" >&2
echo "run.sh: the guest crashed (status $status)" >&2
exit 125
