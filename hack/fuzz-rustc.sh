#!/usr/bin/env bash
# fuzz-rustc.sh RUSTC ARGUMENTS: compiles perouter and its fuzz targets with coverage feedback for libFuzzer (LLVM's
# SanitizerCoverage, with the flags of cargo-fuzz), on stable Rust. `fuzz.sh` sets it as RUSTC_WORKSPACE_WRAPPER, so that
# dependencies are compiled as ever.
set -euo pipefail
flags=()
case " $* " in
  *" --crate-name perouter "* | *" --crate-name perouter_fuzz "*)
    flags=(-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
      -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
      -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0)
    ;;
esac
exec "$@" ${flags[@]+"${flags[@]}"}
