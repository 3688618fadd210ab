#!/usr/bin/env bash
# deny.sh: checks the dependencies against deny.toml: licences, duplicates and sources, and advisories if their database
# can be fetched or was fetched before. Needs cargo-deny.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! cargo deny --version >/dev/null 2>&1; then
  echo "deny.sh: cargo-deny is missing: cargo install --locked cargo-deny" >&2
  exit 1
fi
checks=(licenses bans sources)
if cargo deny fetch db >/dev/null 2>&1; then
  checks+=(advisories)
elif compgen -G "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs/*/" >/dev/null; then
  echo "deny.sh: the advisory database cannot be fetched: the copy of the last fetch is used" >&2
  cargo deny check --disable-fetch advisories
else
  echo "deny.sh: the advisory database cannot be fetched and there is no copy: advisories are not checked" >&2
fi
cargo deny check "${checks[@]}"
