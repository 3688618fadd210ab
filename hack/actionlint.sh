#!/usr/bin/env bash
# actionlint.sh: checks the workflows with actionlint, built with Go from the module proxy.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v go >/dev/null || { echo "actionlint needs Go" >&2; exit 3; }
exec env GOFLAGS=-mod=mod go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.7 -color .github/workflows/*.yaml
