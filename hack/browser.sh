#!/usr/bin/env bash
# browser.sh [--find]: prints the path of Chromium and, in a second line, that of playwright-core, which drives it:
# ${XDG_CACHE_HOME:-$HOME/.cache}/perouter/browser/node_modules/playwright-core. Chromium is Debian's package, installed
# with apt where root runs this; playwright-core comes from npm, once, into the cache. With --find nothing is downloaded or installed.
set -euo pipefail
version=1.65.1
root=${XDG_CACHE_HOME:-$HOME/.cache}/perouter/browser
missing=()
command -v chromium >/dev/null || missing+=(chromium)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
if [ ${#missing[@]} -gt 0 ]; then
  if [ "${1-}" = --find ] || [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "browser.sh: missing: apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >&2
fi
chromium=$(command -v chromium)
module=$root/node_modules/playwright-core
if ! grep -q "\"version\": \"$version\"" "$module/package.json" 2>/dev/null; then
  [ "${1-}" != --find ] || { echo "browser.sh: playwright-core is not there yet: hack/browser.sh" >&2; exit 1; }
  mkdir -p "$root"
  npm install --prefix "$root" --no-audit --no-fund --ignore-scripts --save-exact "playwright-core@$version" >&2
fi
printf '%s\n%s\n' "$chromium" "$module"
