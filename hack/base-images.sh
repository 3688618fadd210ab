#!/usr/bin/env bash
# base-images.sh [DOCKERFILE]: creates the base images of the Dockerfile that no registry supplies, with the same tags: Debian's by
# debootstrap, Rust's as that with a compiler and the Rust toolchain of the machine. Does nothing for an image that exists or
# can be pulled. As root, with a Docker engine (hack/dockerd.sh).
set -euo pipefail
cd "$(dirname "$0")/.."
dockerfile=${1:-Dockerfile}
mirror=${PEROUTER_DEBIAN_MIRROR:-http://deb.debian.org/debian}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

work=
trap '[ -z "$work" ] || rm -rf "$work"' EXIT

# root SUITE: creates a root file system like that of the image SUITE-slim in $work.
root() {
  [ "$(id -u)" = 0 ] || { echo "base-images.sh: needs root" >&2; exit 1; }
  command -v debootstrap >/dev/null || {
    echo "base-images.sh: debootstrap is missing: apt-get install --no-install-recommends debootstrap" >&2
    exit 1
  }
  if [ -z "$work" ]; then
    work=$(mktemp -d)
    debootstrap --variant=minbase --force-check-gpg --keyring="$keyring" "$1" "$work" "$mirror" >"$work.log" 2>&1 || {
      tail -n 20 "$work.log" >&2
      exit 1
    }
    rm -f "$work.log"
    # As in the image: no package starts a daemon, and none has documentation or translations.
    printf '#!/bin/sh\nexit 101\n' >"$work/usr/sbin/policy-rc.d"
    chmod 755 "$work/usr/sbin/policy-rc.d"
    printf '%s\n' 'path-exclude /usr/share/doc/*' 'path-include /usr/share/doc/*/copyright' 'path-exclude /usr/share/man/*' \
      'path-exclude /usr/share/locale/*' 'path-exclude /usr/share/info/*' >"$work/etc/dpkg/dpkg.cfg.d/docker"
    find "$work/usr/share/doc" -type f ! -name copyright -delete
    rm -rf "$work"/usr/share/{man,locale,info}/* "$work"/var/cache/apt/* "$work"/var/lib/apt/lists/* "$work"/var/log/*
    # A mirror that is a snapshot has an expired Release file.
    printf 'Acquire::Check-Valid-Until "false";\n' >"$work/etc/apt/apt.conf.d/snapshot"
  fi
}

sed -n 's/^FROM \([^ ]*\).*/\1/p' "$dockerfile" | sort -u | while read -r image; do
  if docker image inspect "$image" >/dev/null 2>&1 || timeout 60 docker pull --quiet "$image" >/dev/null 2>&1; then
    continue
  fi
  echo "$image cannot be pulled: a stand-in is made of Debian" >&2
  case $image in
    debian:*-slim)
      suite=${image#debian:}
      root "${suite%-slim}"
      tar --numeric-owner -C "$work" -c . | docker import --change 'CMD ["bash"]' --message "stand-in, hack/base-images.sh" - "$image" >/dev/null
      ;;
    rust:*-slim-*)
      root "${image##*-slim-}"
      chroot "$work" sh -c "apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev ca-certificates >/dev/null && apt-get clean"
      # The certificate authorities of the machine, for a registry behind a proxy of its own.
      cp /etc/ssl/certs/ca-certificates.crt "$work/etc/ssl/certs/ca-certificates.crt"
      toolchain=$(rustc --print sysroot)
      mkdir -p "$work/usr/local/rustup" "$work/usr/local/cargo/bin"
      cp -a "$toolchain" "$work/usr/local/rustup/toolchain"
      rm -rf "$work/usr/local/rustup/toolchain/share/doc"
      for tool in cargo rustc; do ln -s "/usr/local/rustup/toolchain/bin/$tool" "$work/usr/local/cargo/bin/$tool"; done
      tar --numeric-owner -C "$work" -c . | docker import \
        --change 'ENV PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
        --change 'ENV CARGO_HOME=/usr/local/cargo' --message "stand-in, hack/base-images.sh" - "$image" >/dev/null
      ;;
    *)
      echo "base-images.sh: no stand-in for $image" >&2
      exit 1
      ;;
  esac
done
