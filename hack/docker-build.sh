#!/usr/bin/env bash
# docker-build.sh IMAGE [PROGRAM]: builds the Dockerfile as IMAGE, with BuildKit where Docker has it. Its date is that of the commit, so
# that the same commit has the same labels. With PROGRAM, only its last stage, with this build of perouter in place of that of the
# stage `build`: for tests, in a tenth of the time. Under hack/dockerd.sh a machine without an engine has one.
set -euo pipefail
cd "$(dirname "$0")/.."
image=${1:?docker-build.sh: an image name is missing}
program=${2-}
context=. more=()
if [ -n "$program" ]; then
  context=$(mktemp -d)
  trap 'rm -rf "$context"' EXIT
  awk '/^FROM / { stage = "" } { stage = stage $0 "\n" } END { printf "%s", stage }' Dockerfile |
    sed 's|^COPY --from=build /perouter |COPY perouter |' >"$context/Dockerfile"
  ! grep -- --from "$context/Dockerfile" || { echo "docker-build.sh: the last stage copies more than perouter" >&2; exit 1; }
  cp -r image "$context"
  strip -o "$context/perouter" "$program"
  more=(--label perouter.test.unoptimized=true)
fi
hack/base-images.sh "$context/Dockerfile"
if docker buildx version >/dev/null 2>&1; then export DOCKER_BUILDKIT=1; else export DOCKER_BUILDKIT=0; fi
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
epoch=$(git log -1 --format=%ct 2>/dev/null || echo 0)
docker build --network host --tag "$image" "${more[@]}" \
  --label "org.opencontainers.image.revision=$revision" \
  --label "org.opencontainers.image.created=$(date --utc --date="@$epoch" +%Y-%m-%dT%H:%M:%SZ)" \
  --label org.opencontainers.image.title=perouter \
  --label "org.opencontainers.image.description=An EVPN provider-edge router for Kubernetes nodes" \
  --label "org.opencontainers.image.version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"$/\1/p' Cargo.toml)" "$context"
docker image inspect --format '{{index .RepoTags 0}}: {{.Size}} bytes' "$image"
