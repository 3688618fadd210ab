#!/usr/bin/env bash
# The MetalLB demo in containers: kind creates the cluster, containerlab the fabric around it, and everything is applied as
# a user would apply it. Needs Docker, kind, containerlab, kubectl and curl, and a kernel with VXLAN.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
for tool in docker kind containerlab kubectl; do
  command -v "$tool" >/dev/null || missing+=("$tool")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "missing: ${missing[*]}. 'make demo-metallb' shows the same without containers," >&2
  echo "'make demo-metallb SOURCE=kubernetes' with an API server and MetalLB as processes" >&2
  exit 1
fi

metallb=$(awk '$1 == "go.universe.tf/metallb" { print $2; exit }' hack/kubernetes/metallb/go.mod)
kubectl=(kubectl --context kind-pe-kind)

kind get clusters | grep -qx pe-kind || kind create cluster --config clab/kind.yaml --wait 120s
kind load docker-image perouter:dev --name pe-kind
containerlab deploy --reconfigure -t clab/metallb.clab.yml

"${kubectl[@]}" apply --server-side -f "https://raw.githubusercontent.com/metallb/metallb/$metallb/config/manifests/metallb-frr-k8s.yaml"
"${kubectl[@]}" apply --server-side -k deploy
for workload in metallb-system/deployment/controller metallb-system/daemonset/speaker \
  openperouter-system/daemonset/router openperouter-system/daemonset/controller; do
  "${kubectl[@]}" -n "${workload%%/*}" rollout status "${workload#*/}" --timeout 300s
done
# MetalLB's webhook is reachable shortly after its pods are ready.
for _ in $(seq 30); do
  "${kubectl[@]}" apply -f examples/metallb && break
  sleep 2
done

# expect ok|timeout HOST ADDRESS: fails if an HTTP request of the host to the address does not end like that.
expect() {
  local result=timeout
  for _ in $(seq 60); do
    if docker exec "clab-kind-$2" curl --silent --noproxy '*' --max-time 2 "http://$3/hostname"; then
      result=ok
      break
    fi
    [ "$1" = ok ] || break
    sleep 1
  done
  echo " $2 -> $3: $result"
  [ "$result" = "$1" ]
}
expect ok hostA_red 172.30.0.10
expect ok hostB_red 172.30.0.10
expect ok hostA_blue 172.30.0.16
expect timeout hostA_blue 172.30.0.10
expect timeout hostA_red 172.30.0.16
echo "all as expected. To remove it: containerlab destroy -t clab/metallb.clab.yml --cleanup && kind delete cluster --name pe-kind"
