#!/usr/bin/env bash
# setup.sh: installs what the demo, the tests and the benchmarks need from Debian's packages. Prints nothing if everything is
# installed.
set -euo pipefail

declare -A package=(
  [/usr/lib/frr/zebra]=frr [vtysh]=frr [ip]=iproute2 [ping]=iputils-ping [curl]=curl [tcpdump]=tcpdump
  [cc]=gcc [/usr/include/stdio.h]=libc6-dev [/etc/ssl/certs/ca-certificates.crt]=ca-certificates
  [nsenter]=util-linux [ps]=procps [linux.uml]=user-mode-linux [modprobe]=kmod [debootstrap]=debootstrap [openssl]=openssl
  [bird]=bird2 [gobgpd]=gobgpd [nft]=nftables [strace]=strace [/usr/lib/frr/frr-reload.py]=frr-pythontools
  [ovs-vswitchd]=openvswitch-switch [/usr/lib/cni/bridge]=containernetworking-plugins
)
missing=()
for tool in "${!package[@]}"; do
  [[ $tool == /* && -e $tool ]] || command -v "$tool" >/dev/null || missing+=("${package[$tool]}")
done
if [ ${#missing[@]} -gt 0 ]; then
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  if [ "$(id -u)" != 0 ]; then
    echo "missing: ${missing[*]}. As root: apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  echo "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # The packages bird2 and gobgpd would start a BGP speaker on this machine, openvswitch-switch a switch.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
  fi
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  # Not at the next boot either: the tests start their own.
  if command -v systemctl >/dev/null; then
    declare -A units=([bird2]=bird [gobgpd]=gobgpd [openvswitch-switch]=openvswitch-switch)
    for name in "${missing[@]}"; do
      [ -z "${units[$name]:-}" ] || systemctl disable --quiet "${units[$name]}" 2>/dev/null || true
    done
  fi
fi
if ! command -v cargo >/dev/null; then
  echo "cargo is missing: Rust 1.89 or later is needed, and Debian's is older. The official installer of https://rustup.rs:" >&2
  echo "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . \"\$HOME/.cargo/env\"" >&2
  exit 1
fi
