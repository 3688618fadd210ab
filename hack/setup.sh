#!/usr/bin/env bash
# setup.sh [kubernetes]: installs what the demo and the tests need from Debian's packages; with `kubernetes` also what
# FRR-K8s needs. Prints nothing where all is there.
set -euo pipefail

declare -A package=(
  [/usr/lib/frr/zebra]=frr [vtysh]=frr [ip]=iproute2 [ping]=iputils-ping [curl]=curl [tcpdump]=tcpdump
  [cc]=gcc [nsenter]=util-linux [ps]=procps [linux.uml]=user-mode-linux [modprobe]=kmod [debootstrap]=debootstrap [openssl]=openssl
)
[ "${1:-}" != kubernetes ] || package[/usr/lib/frr/frr-reload.py]=frr-pythontools
missing=()
for tool in "${!package[@]}"; do
  command -v "$tool" >/dev/null || missing+=("${package[$tool]}")
done
if [ ${#missing[@]} -gt 0 ]; then
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  if [ "$(id -u)" != 0 ]; then
    echo "missing: ${missing[*]}. As root: apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  echo "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
if ! command -v cargo >/dev/null; then
  echo "cargo is missing: install Rust 1.89 or later (Debian 12's is older), for example with rustup" >&2
  exit 1
fi
