#!/usr/bin/env bash
# sbom.sh [STATUS]: prints the software bill of materials of perouter as CycloneDX 1.5: the crates in the binary (Cargo.lock, without
# those of tests and builds), and the packages in STATUS, a /var/lib/dpkg/status, where the image is meant.
set -euo pipefail
cd "$(dirname "$0")/.."
status=${1:-/dev/null}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
when=$(date -u -d "@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}" +%FT%TZ)
crates=$(mktemp) packages=$(mktemp)
trap 'rm -f "$crates" "$packages"' EXIT

# NAME VERSION LICENSE, tab separated.
cargo tree --locked --package perouter --edges normal --prefix none --no-dedupe --format '{p}|{l}' |
  sed -n 's/^\([^ ]*\) v\([^ |]*\)\( ([^|]*)\)\?|\(.*\)$/\1\t\2\t\4/p' | LC_ALL=C sort -u | grep -v $'^perouter\t' >"$crates"
awk -v RS= -F '\n' '
  { name = version = arch = source = state = "" }
  { for (i = 1; i <= NF; i++) {
      if ($i ~ /^Package: /) name = substr($i, 10)
      if ($i ~ /^Version: /) version = substr($i, 10)
      if ($i ~ /^Architecture: /) arch = substr($i, 15)
      if ($i ~ /^Source: /) source = substr($i, 9)
      if ($i ~ /^Status: /) state = $i
    } }
  state ~ / installed$/ { sub(/ .*/, "", source); print name "\t" version "\t" arch "\t" (source == "" ? name : source) }
' "$status" | LC_ALL=C sort >"$packages"

awk -F '\t' -v version="$version" -v when="$when" -v crates="$crates" -v packages="$packages" '
  function quoted(text) { gsub(/\\/, "\\\\", text); gsub(/"/, "\\\"", text); return "\"" text "\"" }
  function encoded(text) { gsub(/%/, "%25", text); gsub(/\+/, "%2B", text); gsub(/:/, "%3A", text); gsub(/~/, "~", text); return text }
  function component(purl, name, version, more) {
    printf "%s\n    {\"type\": \"library\", \"bom-ref\": %s, \"name\": %s, \"version\": %s, \"purl\": %s%s}", (count++ ? "," : ""), quoted(purl), quoted(name), quoted(version), quoted(purl), more
    parts = parts (parts == "" ? "" : ", ") quoted(purl)
  }
  BEGIN {
    while ((getline line < "Cargo.lock") > 0) {
      if (line ~ /^name = /) { split(line, field, "\""); name = field[2] }
      if (line ~ /^version = /) { split(line, field, "\""); of_crate = field[2] }
      if (line ~ /^checksum = /) { split(line, field, "\""); checksum[name, of_crate] = field[2] }
    }
    self = "pkg:cargo/perouter@" version
    print "{"
    print "  \"bomFormat\": \"CycloneDX\",\n  \"specVersion\": \"1.5\",\n  \"version\": 1,"
    print "  \"metadata\": {"
    print "    \"timestamp\": " quoted(when) ","
    print "    \"component\": {\"type\": \"application\", \"bom-ref\": " quoted(self) ", \"name\": \"perouter\", \"version\": " quoted(version) ", \"purl\": " quoted(self) ", \"licenses\": [{\"license\": {\"id\": \"Apache-2.0\"}}]}"
    print "  },"
    printf "  \"components\": ["
    while ((getline < crates) > 0) {
      more = ", \"scope\": \"required\""
      if ($3 != "") { license = $3; gsub(/ *\/ */, " OR ", license); more = more ", \"licenses\": [{\"expression\": " quoted(license) "}]" }
      if (($1, $2) in checksum) more = more ", \"hashes\": [{\"alg\": \"SHA-256\", \"content\": \"" checksum[$1, $2] "\"}]"
      component("pkg:cargo/" $1 "@" encoded($2), $1, $2, more)
    }
    of_binary = parts
    while ((getline < packages) > 0) component("pkg:deb/debian/" encoded($1) "@" encoded($2) "?arch=" $3, $1, $2, ", \"properties\": [{\"name\": \"debian:source\", \"value\": " quoted($4) "}]")
    print "\n  ],"
    print "  \"dependencies\": [{\"ref\": " quoted(self) ", \"dependsOn\": [" of_binary "]}]"
    print "}"
  }'
