#!/usr/bin/env bash
# release.sh: the parts of a release, as .github/workflows/release.yaml runs them.
#   version TAG                          fails unless Cargo.toml, Chart.yaml and CHANGELOG.md have the version of the tag
#   notes TAG                            prints the section of CHANGELOG.md
#   chart TAG IMAGE DIGEST DIRECTORY     packages the chart, which installs this image
#   manifests TAG IMAGE DIGEST DIRECTORY writes deploy/, each overlay and the removal as one file, with this image, and kubectl-perouter
#   dry-run [DIRECTORY]                  everything that needs neither registry nor signatures, for the version in Cargo.toml;
#                                        what cannot be done here is named
set -euo pipefail
cd "$(dirname "$0")/.."

cargo_version() { sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1; }

# section VERSION: its part of CHANGELOG.md without the heading.
section() {
  awk -v heading="## [$1]" 'index($0, "## [") == 1 { inside = index($0, heading) == 1; next } inside' CHANGELOG.md | sed -e '/./,$!d'
}

version() {
  local wanted=${1#v} found
  found=$(cargo_version)
  [ "$found" = "$wanted" ] || { echo "Cargo.toml has version $found, the tag $wanted" >&2; return 1; }
  found=$(sed -n 's/^version: //p' deploy/helm/perouter/Chart.yaml)
  [ "$found" = "$wanted" ] || { echo "Chart.yaml has version $found, the tag $wanted" >&2; return 1; }
  [ -n "$(section "$wanted")" ] || { echo "CHANGELOG.md has no section [$wanted]" >&2; return 1; }
}

# program NAME: helm or kubectl, of the machine or built with Go.
program() {
  local group=helm
  [ "$1" = helm ] || group=control-plane
  command -v "$1" || echo "$(hack/kubernetes/assets.sh "$group")/$1"
}

chart() {
  local version=${1#v} image=$2 digest=$3 to=$4 copy
  copy=$(mktemp -d)
  cp -r deploy/helm/perouter "$copy/perouter"
  sed -i -e "s|^  repository: perouter$|  repository: $image|" -e "s|^  digest: \"\"$|  digest: \"$digest\"|" "$copy/perouter/values.yaml"
  grep -q "repository: $image" "$copy/perouter/values.yaml"
  grep -q "digest: \"$digest\"" "$copy/perouter/values.yaml"
  # The same file for the same commit.
  find "$copy" -exec touch --no-dereference --date="@$(git log -1 --format=%ct)" {} +
  "$(program helm)" package "$copy/perouter" --version "$version" --app-version "$version" --destination "$to" >/dev/null
  rm -rf "$copy"
}

manifests() {
  local version=${1#v} image=$2 digest=$3 to=$4 copy overlay name kubectl
  kubectl=$(program kubectl)
  copy=$(mktemp -d)
  cp -r deploy crds "$copy"
  for overlay in deploy deploy/overlays/* deploy/removal; do
    name=perouter-$version
    [ "$overlay" = deploy ] || name+=-$(basename "$overlay")
    mkdir -p "$copy/release"
    cat >"$copy/release/kustomization.yaml" <<END
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../$overlay]
images: [{name: perouter, newName: $image, digest: "$digest"}]
END
    "$kubectl" kustomize "$copy/release" >"$to/$name.yaml"
    grep -q "image: $image@$digest" "$to/$name.yaml"
  done
  cp deploy/kubectl/kubectl-perouter "$to"
  rm -rf "$copy"
}

# step TEXT COMMAND...: runs it, and notes whether it worked; status 3 means that it cannot be done here, and its last line says why.
step() {
  local text=$1 start=$SECONDS rc
  shift
  echo "== $text" >&2
  # Not `"$@" || rc=$?`, which goes on after a command that fails.
  set +e
  (set -e && "$@") 2>&1 | tee "$output" >&2
  rc=${PIPESTATUS[0]}
  set -e
  case $rc in
    0) done_steps+=("$(printf '%-48s %5ds' "$text" $((SECONDS - start)))") ;;
    3) done_steps+=("$(printf '%-48s left out: %s' "$text" "$(tail -n 1 "$output")")") ;;
    *) done_steps+=("$(printf '%-48s FAILED' "$text")") && failed=1 ;;
  esac
}

# image DIRECTORY VERSION: builds the image and writes its SBOM.
image() {
  local status rc=0
  hack/dockerd.sh true || return 3
  status=$(mktemp)
  hack/dockerd.sh bash -euo pipefail -c '
    hack/docker-build.sh "$1"
    docker run --rm --network none --entrypoint cat "$1" /var/lib/dpkg/status >"$2"' _ "perouter:$2" "$status" >&2 || rc=$?
  [ $rc != 0 ] || sbom "$1" "$status" "$2-$(dpkg --print-architecture)" || rc=1
  rm -f "$status"
  return $rc
}

# notes VERSION FILE: the text of the GitHub release.
notes() {
  section "$1" >"$2"
  [ -s "$2" ] || { echo "CHANGELOG.md has no section [$1]" >&2; return 1; }
}

well_formed() {
  perl -MJSON::PP -e 'local $/; my $bom = decode_json(<STDIN>); my %seen;
    for (@{$bom->{components}}) { die "$_->{purl} twice\n" if $seen{$_->{"bom-ref"}}++; die "no version: $_->{name}\n" unless length $_->{version} }
    die "no component\n" unless %seen; print STDERR scalar(keys %seen), " components\n"' <"$1"
}

sbom() {
  hack/sbom.sh "$2" >"$1/perouter-$3.cdx.json"
  well_formed "$1/perouter-$3.cdx.json"
}

dry_run() {
  local to=${1:-target/release-dry-run} version digest
  version=$(cargo_version)
  digest=sha256:$(printf '%064d' 0)
  done_steps=() failed=0 output=$(mktemp)
  trap 'rm -f "$output"' EXIT
  rm -rf "$to"
  mkdir -p "$to"
  step "version in Cargo.toml, Chart.yaml, CHANGELOG.md" version "v$version"
  step "notes from CHANGELOG.md" notes "$version" "$to/notes.md"
  step "workflows (actionlint)" hack/actionlint.sh
  step "chart" chart "v$version" ghcr.io/openperouter/perouter "$digest" "$to"
  step "manifests" manifests "v$version" ghcr.io/openperouter/perouter "$digest" "$to"
  step "Debian package" hack/deb.sh --output "$to/"
  step "SBOM of the package" sbom "$to" /dev/null "$version"
  step "arm64 (compiled, not optimized)" hack/cross.sh
  step "image of this architecture, and its SBOM" image "$to" "$version"
  (cd "$to" && sha256sum -- * >SHA256SUMS)
  echo
  printf '%s\n' "${done_steps[@]}"
  cat <<'END'
left to the workflow:
  image for arm64             it is built on a machine of that architecture; what differs by architecture, the binary, is compiled above
  push of image and chart     needs the registry and its token; chart and manifests above have a digest of zeros
  signatures, attestations    need the identity of the workflow (OIDC)
  GitHub release              needs the tag
END
  ls -l "$to"
  return "$failed"
}

case ${1:-} in
  version | chart | manifests) "$@" ;;
  notes) section "${2#v}" ;;
  dry-run) dry_run "${2:-}" ;;
  *) sed -n '2,/^set/{/^set/d;s/^# \?//;p}' "$0" >&2; exit 2 ;;
esac
