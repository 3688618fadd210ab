#!/usr/bin/env bash
# dockerfile-build.sh: builds perouter from exactly the files that the build stage of the Dockerfile copies, with the
# Dockerfile's cargo arguments but in the dev profile, and checks that build.rs and .cargo/config.toml took effect and that
# the image has the Rust release of rust-toolchain.toml. Needs neither Docker nor root.
#
# The files are copied to a directory outside the checkout, so that the build finds no others. Its name is the same in
# every run and cargo's target directory is that of the checkout, so that what is built already is used.
set -euo pipefail
cd "$(dirname "$0")/.."
checkout=$PWD
work=${XDG_CACHE_HOME:-$HOME/.cache}/perouter/dockerfile/$(cksum <<<"$checkout" | cut -d' ' -f1)
context=$work/context sources=$work/src target=${CARGO_TARGET_DIR:-$checkout/target}

fail() {
  echo "dockerfile-build.sh: $*" >&2
  exit 1
}

# The instructions of the stage `build`, one a line.
stage=$(awk '
  /^[ \t]*#/ { next }
  { line = line $0 }
  sub(/\\$/, " ", line) { next }
  line ~ /^FROM / { building = line ~ / AS build$/ }
  building { print line }
  { line = "" }' Dockerfile)
read -ra build < <(sed -n 's/^RUN .*\(cargo build [^&;|]*\).*/\1/p' <<<"$stage") || fail "the Dockerfile has no 'cargo build' in its stage 'build'"
image=$(sed -n 's/^FROM rust:\([0-9.]*\).*/\1/p' <<<"$stage")
toolchain=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
[[ $toolchain. == "$image".* ]] || fail "the Dockerfile builds with Rust $image, rust-toolchain.toml names $toolchain"
for index in "${!build[@]}"; do
  [ "${build[index]}" != --release ] || unset "build[index]"
done

mkdir -p "$work"
exec 9>"$work/lock"
flock 9
rm -rf "$context" "$sources"
mkdir -p "$context" "$sources"

# Exceptions are the one kind of pattern that tar cannot express.
! grep -q '^!' .dockerignore || fail "exceptions in .dockerignore are not supported"
while read -ra words; do
  [ "${words[0]}" = COPY ] || continue
  [[ ${words[1]} != --* ]] || fail "options are not supported: ${words[*]}"
  to=$sources/${words[-1]}
  for from in "${words[@]:1:${#words[@]}-2}"; do
    tar --create --anchored --no-wildcards-match-slash --exclude-from=<(grep -v '^#' .dockerignore) -- "$from" |
      tar --extract --directory "$context"
    [ -e "$context/$from" ] || fail "$from is excluded by .dockerignore: ${words[*]}"
    # As Docker does: of a directory, what is in it.
    if [ -d "$context/$from" ]; then
      mkdir -p "$to"
      cp -a "$context/$from/." "$to"
    else
      [[ $to != */ ]] || mkdir -p "$to"
      cp -a "$context/$from" "$to"
    fi
  done
done <<<"$stage"

(cd "$sources" && env -u JEMALLOC_SYS_WITH_MALLOC_CONF RUSTUP_TOOLCHAIN="$toolchain" "${build[@]}" --target-dir "$target")

binary=$target/debug/perouter
"$binary" --version >/dev/null
readelf --dynamic "$binary" | grep RELR >/dev/null || fail "no packed relative relocations: build.rs had no effect"
setting=$(sed -n 's/^JEMALLOC_SYS_WITH_MALLOC_CONF = "\(.*\)"$/\1/p' .cargo/config.toml)
[ -n "$setting" ] || fail ".cargo/config.toml has no JEMALLOC_SYS_WITH_MALLOC_CONF"
grep --quiet --text --fixed-strings -- "$setting" "$binary" ||
  fail "jemalloc was built without '$setting': .cargo/config.toml had no effect"
echo "built from the files that the Dockerfile copies"
