#!/usr/bin/env bash
# image-root.sh IMAGE: prints a folder with the root file system of an image (rootfs/) and its description (image.json), for
# containers that perouter-lab starts with runc. It is exported once, into ${XDG_CACHE_HOME:-$HOME/.cache}/perouter/images. An error
# with the remedy where this machine cannot do that. Starts the private Docker engine of hack/dockerd.sh if none answers.
set -euo pipefail
image=${1:?image-root.sh: an image name is missing}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/perouter
[ "$(id -u)" = 0 ] || { echo "containers need root" >&2; exit 1; }
command -v runc >/dev/null || { echo "runc is missing: make docker-build installs Docker, which brings it" >&2; exit 1; }
if ! docker info >/dev/null 2>&1; then
  if ! command -v dockerd >/dev/null || [ ! -d "$cache/docker" ]; then
    echo "no Docker engine answers: make docker-build starts a private one and builds the image" >&2
    exit 1
  fi
  exec "$(dirname "$0")/dockerd.sh" "$0" "$@"
fi
id=$(docker image inspect --format '{{.Id}}' "$image" 2>/dev/null) || {
  echo "there is no image $image: make docker-build builds it" >&2
  exit 1
}
folder=$cache/images/${id#sha256:}
mkdir -p "$cache/images"
exec 8>"$cache/images.lock"
flock 8
if [ ! -d "$folder" ]; then
  new=$folder.new
  rm -rf "$new"
  mkdir -p "$new/rootfs"
  container=$(docker create --network none "$image")
  docker export "$container" | tar --extract --numeric-owner --same-permissions --directory "$new/rootfs"
  docker rm "$container" >/dev/null
  docker image inspect --format '{{json .}}' "$image" >"$new/image.json"
  mv "$new" "$folder"
fi
# The five that were used last stay; running labs use these.
touch "$folder"
ls -td "$cache"/images/*/ | tail -n +6 | while read -r old; do rm -rf "$old"; done
echo "$folder"
