#!/usr/bin/env bash
# The layers of the crate and docs/architecture.md: which module may use which, which are pure, the code map, sizes of files.
# Fails with file and line of everything that is not as the document says.
set -euo pipefail
cd "$(dirname "$0")/.."
RUST_BACKTRACE=0 exec cargo test --quiet --test architecture
