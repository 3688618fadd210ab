#!/usr/bin/env bash
# deb.sh [CARGO-DEB ARGUMENT...]: builds the Debian package with cargo-deb, which is installed if it is missing. Prints the
# path of the package.
set -euo pipefail
cd "$(dirname "$0")/.."
version=3.8.0
if ! cargo deb --version >/dev/null 2>&1; then
  echo "installing cargo-deb $version" >&2
  cargo install --locked --quiet cargo-deb --version "$version" >&2
fi
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}"
cargo deb --locked --quiet "$@"
