#!/usr/bin/env bash
# licenses.sh: fails if a dependency has a licence that deny.toml does not allow. Needs cargo alone; it reads the licence
# expression in the manifest of each crate, where `make deny` reads the licence texts as well.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo tree --locked --workspace --all-features --target x86_64-unknown-linux-gnu --prefix none --format '{p}|{l}' |
  awk -F'|' '
    NR == FNR && /^\[/ { inside = /^\[licenses\]/ }
    NR == FNR { if (inside && match($0, /^  "[^"]+"/)) allowed[substr($0, 4, RLENGTH - 4)]; next }
    NF < 2 { next }
    { sub(/ \(\*\)$/, "") }
    !seen[$0]++ {
      fits = $2 != ""
      # All of the parts that AND joins, one of the alternatives of each. A part in parentheses is an alternative.
      for (i = split($2, parts, " AND "); i > 0; i--) {
        gsub(/[()]/, "", parts[i])
        one = 0
        for (j = split(parts[i], alternatives, / OR | *\/ */); j > 0; j--) one = one || alternatives[j] in allowed
        fits = fits && one
      }
      if (!fits) { print $1 ": licence \"" $2 "\" is not allowed by deny.toml" > "/dev/stderr"; status = 1 }
    }
    END { exit status }' deny.toml -
