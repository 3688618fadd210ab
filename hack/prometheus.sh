#!/usr/bin/env bash
# prometheus.sh [--find]: puts prometheus and promtool of Debian's package `prometheus` into a cache, without installing it, and
# prints the directory of the two programs: ${XDG_CACHE_HOME:-$HOME/.cache}/perouter/prometheus/usr/bin. Done once, in a temporary
# directory that is renamed at the end. Needs apt-get and a Debian mirror; no root. With --find it downloads nothing, and fails if
# they are not there.
set -euo pipefail
root=${XDG_CACHE_HOME:-$HOME/.cache}/perouter/prometheus
bin=$root/usr/bin
if [ -x "$bin/promtool" ]; then
  echo "$bin"
  exit 0
fi
if [ "${1-}" = --find ]; then
  echo "prometheus.sh: not there yet: hack/prometheus.sh" >&2
  exit 1
fi
command -v apt-get >/dev/null || { echo "prometheus.sh: needs apt-get" >&2; exit 1; }
mkdir -p "$(dirname "$root")"
# Concurrent runs wait for each other.
exec 9>"$root.lock"
flock 9
if [ ! -x "$bin/promtool" ]; then
  staging=$(mktemp -d "$root.XXXXXX")
  trap 'rm -rf "$staging"' EXIT
  # apt's user `_apt` writes the package where root runs this.
  chmod 755 "$staging"
  (cd "$staging" && apt-get download prometheus && dpkg -x prometheus_*.deb . && rm -f prometheus_*.deb) >&2
  mv "$staging" "$root"
fi
echo "$bin"
