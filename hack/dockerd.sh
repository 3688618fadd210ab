#!/usr/bin/env bash
# dockerd.sh COMMAND [ARGUMENT...]: runs a command with a Docker engine: the one that answers already, otherwise a private one
# of its own for the time of the command (as root; Debian's package docker.io is installed if dockerd is missing). The private
# one has its data in ${XDG_CACHE_HOME:-$HOME/.cache}/perouter/docker and changes neither firewall nor bridges of the machine.
set -euo pipefail

[ $# -gt 0 ] || { echo "dockerd.sh: a command is missing" >&2; exit 2; }
if docker info >/dev/null 2>&1; then
  exec "$@"
fi
[ "$(id -u)" = 0 ] || { echo "dockerd.sh: no Docker engine answers, and a private one needs root" >&2; exit 1; }
if ! command -v dockerd >/dev/null; then
  echo "installing docker.io" >&2
  # The package would start its daemon.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker.io >/dev/null
  rm -f $policy
  trap - EXIT
fi

data=${XDG_CACHE_HOME:-$HOME/.cache}/perouter/docker
mkdir -p "$data"
exec 9>"$data.lock"
flock 9
run=$(mktemp -d /tmp/perouter-docker.XXXXXX)
daemon=
end() {
  trap - EXIT INT TERM
  if [ -n "$daemon" ]; then
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
  fi
  # A namespace that the daemon leaves mounted where a container used the network of the machine.
  umount "$run/exec/netns/default" 2>/dev/null || true
  rm -rf "$run"
}
trap end EXIT
trap 'end; exit 143' TERM
trap 'end; exit 130' INT
dockerd --data-root "$data" --exec-root "$run/exec" --host "unix://$run/docker.sock" --pidfile "$run/pid" \
  --iptables=false --ip6tables=false --bridge=none --storage-driver overlay2 >"$run/log" 2>&1 9>&- &
daemon=$!
export DOCKER_HOST=unix://$run/docker.sock
for ((i = 0; ; i++)); do
  docker info >/dev/null 2>&1 && break
  if [ "$i" = 300 ] || ! kill -0 "$daemon" 2>/dev/null; then
    tail -n 20 "$run/log" >&2
    echo "dockerd.sh: a private Docker engine does not start" >&2
    exit 1
  fi
  sleep 0.1
done
status=0
"$@" 9>&- || status=$?
exit $status
