# perouter: `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := target/debug

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install what the demo and the tests need (apt; as root)
	@hack/setup.sh

.PHONY: build
build: ## build perouter and the lab runner
	cargo build --workspace --bins

.PHONY: demo-metallb
demo-metallb: setup build ## a MetalLB service over a real EVPN fabric; KEEP=1 leaves the lab up
	@$(BIN)/perouter-lab demo metallb

.PHONY: demo-down
demo-down: build ## remove what `KEEP=1 make demo-metallb` left
	@$(BIN)/perouter-lab demo down

.PHONY: test
test: setup ## every test: unit, golden, property, netns, lab, on VRF devices and with FRR 10.3 too (as root)
	@hack/test.sh

.PHONY: test-vrf
test-vrf: setup ## the tests of the VRF modes on a kernel that has VRF devices (as root)
	@hack/test.sh vrf

.PHONY: test-frr10
test-frr10: setup ## the tests with FRR once more, with FRR 10.3 (as root)
	@hack/test.sh frr10

.PHONY: lab-frr10
lab-frr10: setup ## a root file system with FRR 10.3 for lab nodes, once, in a cache (as root)
	@hack/frr10.sh

.PHONY: check
check: ## fast checks without root: format, clippy, layers, unit, golden, property, CRDs in step
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	hack/layers.sh
	cargo test --workspace --lib --bins

.PHONY: goldens
goldens: ## rewrite golden files and CRDs from the code
	PEROUTER_UPDATE=1 cargo test --workspace --lib --bins

.PHONY: crds
crds: ## rewrite crds/ from the API types
	PEROUTER_UPDATE=1 cargo test --lib api::crds

.PHONY: kubernetes-assets
kubernetes-assets: ## etcd, kube-apiserver, kube-controller-manager, kubectl: built once with Go, into ~/.cache/perouter
	@hack/kubernetes/assets.sh control-plane

.PHONY: image
image: ## container image with FRR 10.3 (needs Docker)
	@command -v docker >/dev/null || { echo "no docker here: 'make demo-metallb' runs without an image" >&2; exit 1; }
	docker build -t perouter:dev .

.PHONY: clean
clean: ## remove build results
	cargo clean
