# perouter: `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := target/debug
IMAGE ?= perouter:dev
# `make docker-build demo-metallb` shows the image, in a cluster.
SOURCE ?= $(if $(filter docker-build,$(MAKECMDGOALS)),kubernetes,directory)

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install what the demo and the tests need (apt; as root)
	@hack/setup.sh

.PHONY: build
build: ## build perouter and the lab runner
	cargo build --workspace --bins

.PHONY: demo-metallb
demo-metallb: setup build ## a MetalLB service over a real EVPN fabric; KEEP=1 keeps the lab, SOURCE=kubernetes uses an API server and the image of docker-build
	@[ "$(SOURCE)" != kubernetes ] || $(MAKE) --no-print-directory kubernetes-assets
	@$(BIN)/perouter-lab demo metallb --source $(SOURCE) $(if $(IMAGE),--image $(IMAGE))

.PHONY: demo-layer2
demo-layer2: setup build ## Pods of two nodes on one segment, and one of them moves; KEEP=1 keeps the lab
	@$(BIN)/perouter-lab demo layer2

.PHONY: demo-down
demo-down: build ## remove the lab that KEEP=1 has kept
	@$(BIN)/perouter-lab demo down

.PHONY: test
test: setup ## all tests, level by level: both VRF modes, FRR 8.4, 10.3 and 10.7, a cluster (as root)
	@hack/test.sh

.PHONY: test-all
test-all: setup ## all tests in all combinations: every lab scenario with every release in both VRF modes (hours, as root)
	@hack/test.sh fast fuzz metrics page netns frr-10.3-all frr-10.7-all kubernetes docker-all systemd debian-13 vrf-all

.PHONY: test-vrf
test-vrf: setup ## the tests that need a kernel with VRF devices, in a guest (as root)
	@hack/test.sh vrf

.PHONY: test-kubernetes
test-kubernetes: setup ## the tests with a real etcd and kube-apiserver, built once with Go (as root)
	@hack/test.sh kubernetes

.PHONY: test-metrics
test-metrics: ## lint of the metrics, alerts and dashboard with promtool, alerts fired by a real Prometheus (Debian's package, in a cache)
	@hack/test.sh metrics

.PHONY: test-docker
test-docker: setup ## build the image and test it (as root without a Docker engine)
	@hack/test.sh docker-all

.PHONY: test-frr10
test-frr10: setup ## the tests of FRR with FRR 10.3 and 10.7 (as root)
	@hack/test.sh frr-10.3 frr-10.7

.PHONY: lab-frr
lab-frr: setup ## build root file systems with FRR 10.3 and 10.7 for lab nodes, once, in a cache (as root)
	@hack/frr.sh 10.3
	@hack/frr.sh 10.7

.PHONY: fuzz
fuzz: ## run the fuzz targets with libFuzzer, on stable Rust; SECONDS=600 in all or RUNS=1000000 inputs each, TARGET=yaml one
	@FUZZ_SECONDS=$(or $(SECONDS),600) RUNS=$(RUNS) TARGET=$(TARGET) hack/fuzz.sh

.PHONY: bench
bench: setup ## measure against `ip -batch`, FRR alone and frr-reload.py, with budgets; N=10,100 ROUTES=1,1000 MACS=1000 RUNS=5 IDLE=60 JSON=FILE ONLY=changes,steady,segments,routes,macs (as root)
	cargo bench --bench plan
	@hack/bench.sh native $(foreach name,N ROUTES MACS RUNS IDLE JSON ONLY,$(if $($(name)),$(name)=$($(name))))

.PHONY: bench-vrf
bench-vrf: setup ## the changes of `make bench` in vrf mode, in a guest whose kernel has VRF devices; N=10,100 RUNS=5 (as root)
	@hack/bench.sh vrf $(if $(N),N=$(N),N=10,100) $(if $(RUNS),RUNS=$(RUNS))

.PHONY: check
check: ## fast checks without root: format, clippy, layers, licences, Helm chart, CRDs, unit, golden and property tests, documentation
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	hack/layers.sh
	hack/licenses.sh
	hack/helm.sh --check
	cargo test --workspace --lib --bins
	cargo test --test docs

.PHONY: deny
deny: ## check licences, duplicates, sources and advisories of the dependencies (needs cargo-deny)
	@hack/deny.sh

.PHONY: goldens
goldens: ## rewrite golden files, CRDs and docs/reference/ from the code
	PEROUTER_UPDATE=1 cargo test --workspace --lib --bins
	@$(MAKE) --no-print-directory docs-reference

.PHONY: crds
crds: ## rewrite crds/ from the API types
	PEROUTER_UPDATE=1 cargo test --lib kind::crds

.PHONY: docs-reference
docs-reference: ## rewrite docs/reference/ from the API types and the command line
	PEROUTER_UPDATE=1 cargo test --test docs the_reference_follows

.PHONY: book
book: ## build the documentation as HTML in target/book and check its links (installs mdBook with cargo if it is missing)
	@hack/book.sh --install

.PHONY: kubernetes-assets
kubernetes-assets: setup ## build etcd, kube-apiserver, kubectl, MetalLB and others with Go, once, into ~/.cache/perouter
	@hack/kubernetes/assets.sh control-plane
	@hack/kubernetes/assets.sh metallb
	@hack/kubernetes/assets.sh helm
	@hack/kubernetes/assets.sh multus

.PHONY: docker-build
docker-build: ## build the container image with FRR; without a Docker engine or a registry also as root on Debian
	@hack/dockerd.sh hack/docker-build.sh $(IMAGE)

.PHONY: deb
deb: ## build the Debian package with the units (target/debian)
	@hack/deb.sh

.PHONY: test-systemd
test-systemd: setup build ## the package and its units under a real systemd (as root)
	@hack/systemd.sh

.PHONY: release-dry-run
release-dry-run: ## what the release workflow does, without registry and signatures, in target/release-dry-run
	@hack/release.sh dry-run

.PHONY: deploy
deploy: ## apply deploy/ to the cluster of the current kubectl context
	kubectl apply --server-side -k deploy

.PHONY: helm-chart
helm-chart: ## rewrite what is generated of the Helm chart, from deploy/ and crds/
	@hack/helm.sh

.PHONY: kind-demo-metallb
kind-demo-metallb: ## the MetalLB demo in containers, with kind and containerlab (needs Docker)
	@docker info >/dev/null 2>&1 || { echo "Docker is not available: 'make demo-metallb' shows the same without containers" >&2; exit 1; }
	@$(MAKE) docker-build IMAGE=perouter:dev
	@hack/kind-demo.sh

.PHONY: clean
clean: ## remove build results
	cargo clean
