#!/usr/bin/env bash
# assets.sh [--find] GROUP: builds the programs of a group with Go from the module proxy, once, outside the checkout, and
# prints their directory. --find builds nothing: it fails with the reason if they have not been built.
#
#   control-plane  etcd, kube-apiserver, kube-controller-manager, kubectl; KUBEBUILDER_ASSETS is used if it has all of them
#   metallb        controller and speaker of MetalLB, frr-k8s with its reloader, and the manifest that installs them
#   helm           helm
#   multus         Multus, the CNI plugin, and the manifest that installs it
#
# Versions are pinned in GROUP/go.mod beside this file, every module by its hash in GROUP/go.sum.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

build=1
if [ "${1:-}" = --find ]; then
  build=0
  shift
fi
group=${1:?usage: assets.sh [--find] control-plane|metallb|helm|multus}

# version MODULE: prints its version in go.mod.
version() { awk -v module="$1" '$1 == module && $2 ~ /^v/ { print $2; exit }' "$here/$group/go.mod"; }

stamp= texts=()
case $group in
control-plane)
  kubernetes=$(version k8s.io/kubernetes) minor=${kubernetes#v1.}
  stamp="-X k8s.io/component-base/version.gitVersion=$kubernetes -X k8s.io/component-base/version.gitMajor=1"
  stamp+=" -X k8s.io/component-base/version.gitMinor=${minor%%.*}"
  key=kubernetes-$kubernetes-etcd-$(version go.etcd.io/etcd/server/v3)
  programs=(
    etcd=go.etcd.io/etcd/server/v3
    kube-apiserver=k8s.io/kubernetes/cmd/kube-apiserver
    kube-controller-manager=k8s.io/kubernetes/cmd/kube-controller-manager
    kubectl=k8s.io/kubernetes/cmd/kubectl
  )
  ;;
metallb)
  key=metallb-$(version go.universe.tf/metallb)
  programs=(
    controller=go.universe.tf/metallb/controller
    speaker=go.universe.tf/metallb/speaker
    frr-k8s=github.com/metallb/frr-k8s/cmd
  )
  texts=(
    frr-reloader.sh=github.com/metallb/frr-k8s/frr-tools/reloader/frr-reloader.sh
    metallb-frr-k8s.yaml=go.universe.tf/metallb/config/manifests/metallb-frr-k8s.yaml
  )
  ;;
helm)
  key=helm-$(version helm.sh/helm/v4)
  programs=(helm=helm.sh/helm/v4/cmd/helm)
  ;;
multus)
  module=gopkg.in/k8snetworkplumbingwg/multus-cni.v4
  key=multus-$(version $module)
  programs=(multus=$module/cmd/multus)
  texts=(multus-daemonset.yml=$module/deployments/multus-daemonset.yml)
  ;;
*)
  echo "assets.sh: unknown group '$group': control-plane, metallb, helm or multus" >&2
  exit 2
  ;;
esac

# first_missing DIRECTORY: prints the first program or text that is not in it.
first_missing() {
  local file
  for file in "${programs[@]}" "${texts[@]}"; do
    [ -x "$1/${file%%=*}" ] || { echo "${file%%=*}" && return; }
  done
}

if [ "$group" = control-plane ] && [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  absent=$(first_missing "$KUBEBUILDER_ASSETS")
  if [ -z "$absent" ]; then
    echo "$KUBEBUILDER_ASSETS"
    exit
  fi
  echo "KUBEBUILDER_ASSETS ($KUBEBUILDER_ASSETS) has no $absent and is not used" >&2
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/perouter/kubernetes
folder=$cache/$key
if [ -z "$(first_missing "$folder")" ]; then
  echo "$folder"
  exit
fi
if [ "$build" = 0 ]; then
  echo "$group has not been built ($folder): make kubernetes-assets" >&2
  exit 3
fi
if ! command -v go >/dev/null; then
  echo "$group cannot be built: Go is missing; install Go $(awk '$1 == "go" { print $2 }' "$here/$group/go.mod") or later, or set KUBEBUILDER_ASSETS to a directory with the programs" >&2
  exit 3
fi

# Complete or not at all: built in a temporary directory of the same file system, then renamed. Concurrent runs wait.
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [ -n "$(first_missing "$folder")" ]; then
  staging=$(mktemp -d "$cache/.building.XXXXXX")
  trap 'rm -rf "$staging"' EXIT
  start=$SECONDS
  echo "building $key: ${programs[*]%%=*} with $(go env GOVERSION)" >&2
  packages=("${programs[@]#*=}")
  # Without DWARF the compiler needs a fifth less time and a quarter less cache.
  (cd "$here/$group" && CGO_ENABLED=0 GOWORK=off GOTOOLCHAIN=local \
    go build -mod=readonly -trimpath -gcflags=all=-dwarf=false -ldflags "-s -w $stamp" -o "$staging/" "${packages[@]}") >&2
  # Go names a program after the last element of its path that is not a version.
  for program in "${programs[@]}"; do
    built=${program#*=} built=${built%/v[0-9]*} built=${built##*/}
    [ "$built" = "${program%%=*}" ] || mv "$staging/$built" "$staging/${program%%=*}"
  done
  for text in "${texts[@]}"; do
    module=$(cut -d/ -f1-3 <<<"${text#*=}")
    [ -n "$(version "$module")" ] || module=${module%/*}
    source=$(cd "$here/$group" && GOWORK=off go list -mod=readonly -m -f '{{.Dir}}' "$module")/${text#*"$module"/}
    install -m 755 "$source" "$staging/${text%%=*}"
  done
  rm -rf "$folder"
  mv "$staging" "$folder"
  chmod 755 "$folder"
  trap - EXIT
  echo "built $key in $((SECONDS - start)) s" >&2
fi
echo "$folder"
