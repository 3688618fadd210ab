#!/usr/bin/env bash
# cross.sh [CARGO ARGUMENT...]: builds perouter for arm64 on another architecture, by default without optimization. Needs Debian's
# gcc-aarch64-linux-gnu, which root installs, and the standard library of the target, which rustup installs. Exit status 3 without them.
set -euo pipefail
cd "$(dirname "$0")/.."
target=aarch64-unknown-linux-gnu
if ! command -v aarch64-linux-gnu-gcc >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing gcc-aarch64-linux-gnu" >&2
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc-aarch64-linux-gnu libc6-dev-arm64-cross >/dev/null
fi
command -v aarch64-linux-gnu-gcc >/dev/null || { echo "cross build: no aarch64-linux-gnu-gcc (apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross)" >&2; exit 3; }
if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ] && ! rustup target add "$target"; then
  echo "cross build: no standard library for $target" >&2
  exit 3
fi
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
cargo build --locked --bin perouter --target "$target" "$@"
