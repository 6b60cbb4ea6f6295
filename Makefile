# Needs Go, Python 3 with pip, bash and make. Everything else is fetched, pinned, when a target needs it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Images need static programs. The same setting for tests spares compiling all dependencies twice.
export CGO_ENABLED = 0

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)

GOLANGCI_LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

IMAGE_PREFIX ?= netproxy
TEST_TIMEOUT ?= 20m
TESTFLAGS    ?=
FUZZTIME     ?= 10s
BENCHFLAGS   ?=
E2EFLAGS     ?=
SCALEFLAGS   ?=

CLUSTER_STATE := $(CURDIR)/.cache/cluster/$(or $(CLUSTER_ID),0)
# The tests of faults have a control plane of their own: they run the program themselves.
FAULTS_ID ?= 9

# A result from the cache proves nothing in CI.
ifeq ($(CI),true)
TESTFLAGS += -count=1
endif

# Two packages at a time: many of them start Envoys.
GO_TEST = go test -p 2 -timeout $(TEST_TIMEOUT) $(TESTFLAGS)
GO_FILES = find . -name '*.go' -not -path './.*'

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## Show in a minute what netproxy does (gets Envoy, runs one policy in the local lab)
	@ENVOY=$$(bash hack/envoy.sh); export ENVOY; bash hack/demo.sh

.PHONY: test
test: unit ## Run all tests: unit, then e2e and faults on a cluster that is started for them and stopped again (root, Debian 12)
	@if ((EUID != 0)); then echo 'NOT TESTED: the end-to-end tests, which need root'; exit; fi; \
	trap '$(MAKE) --no-print-directory cluster-down' EXIT; $(MAKE) --no-print-directory e2e faults

.PHONY: unit
unit: fmt vet ## Run the tests that need no cluster (gets Envoy)
	@ENVOY=$$(bash hack/envoy.sh); export ENVOY; $(GO_TEST) ./...

.PHONY: build
build: ## Build bin/kubectl-netproxy
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/kubectl-netproxy ./cmd/kubectl-netproxy

.PHONY: images
images: ## Build the images for users with Docker, as IMAGE_PREFIX/netproxy-webhook:VERSION and netproxy-init
	for target in webhook init; do \
		docker buildx build -f build/Dockerfile --target $$target --build-arg VERSION=$(VERSION) -t $(IMAGE_PREFIX)/netproxy-$$target:$(VERSION) --load .; \
	done

.PHONY: dist
dist: ## Build the plugin's archives for all platforms into dist/, with checksums and the manifest for krew; fail if they are too large
	go run ./hack/dist --version '$(VERSION)' --epoch "$$(git log -1 --format=%ct)"

.PHONY: dist-try
dist-try: dist ## Install the archive for this machine with a real krew, below a temporary directory
	@bash hack/krew.sh

.PHONY: generate
generate: ## Write deepcopy functions, CRDs and docs/policy-reference.md from api/
	go generate ./api/...
	go run ./hack/reference

.PHONY: golden
golden: ## Write the golden files anew; read the diff before you commit it
	@ENVOY=$$(bash hack/envoy.sh); export ENVOY; \
	packages=$$(go list -f '{{.ImportPath}} {{.Dir}}' ./... | while read -r path dir; do \
		if grep -qs 'flag.Bool("update"' "$$dir"/*_test.go; then echo "$$path"; fi; done); \
	if [[ -z $$packages ]]; then echo "no package has golden files"; else go test -p 2 $$packages -update; fi

.PHONY: fmt
fmt: ## Fail if a file is not formatted with gofmt
	@files=$$($(GO_FILES) -exec gofmt -l {} +); \
	if [[ -n $$files ]]; then printf 'run gofmt -w on:\n%s\n' "$$files"; exit 1; fi

.PHONY: vet
vet: ## Run go vet
	@go vet ./...

.PHONY: lint
lint: ## Check the lint configuration, then run golangci-lint (the first run compiles it)
	$(GOLANGCI_LINT) config verify
	$(GOLANGCI_LINT) run

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (10s each)
	@grep -rE '^func Fuzz[A-Za-z0-9_]*\(' --include='*_test.go' . | sed -E 's|^(.*)/[^/]*:func (Fuzz[A-Za-z0-9_]*)\(.*|\1 \2|' | sort | \
	while read -r package target; do \
		echo "== $$package $$target"; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 2s "$$package"; \
	done

.PHONY: bench
bench: ## Measure against the bare Envoy, mitmproxy and squid (minutes)
	@ENVOY=$$(bash hack/envoy.sh); export ENVOY; go run ./tests/bench $(BENCHFLAGS)

.PHONY: cluster
cluster: ## Start a real Kubernetes node for tests (root, Debian 12; builds for 7 to 9 minutes the first time)
	@bash tests/cluster/up.sh all

.PHONY: cluster-cp
cluster-cp: ## Start its control plane only
	@bash tests/cluster/up.sh cp

.PHONY: cluster-down
cluster-down: ## Stop it and remove all of it but what was built (make clean)
	@bash tests/cluster/down.sh
	@CLUSTER_ID=$(FAULTS_ID) bash tests/cluster/down.sh

.PHONY: e2e
e2e: cluster ## Run the end-to-end tests on it, on real pods
	@NETPROXY_CLUSTER=$(CLUSTER_STATE) go test -count=1 -timeout $(TEST_TIMEOUT) $(E2EFLAGS) ./tests/cluster/e2e ./manifests

.PHONY: faults
faults: ## Kill the controllers after each of their writes, on a control plane of their own
	@CLUSTER_ID=$(FAULTS_ID) bash tests/cluster/up.sh cp
	@NETPROXY_CLUSTER=$(CURDIR)/.cache/cluster/$(FAULTS_ID) go test -count=1 -timeout $(TEST_TIMEOUT) ./tests/cluster/faults

.PHONY: bench-scale
bench-scale: ## Measure the program in the cluster with 1,000 policies and 10,000 pods, without nodes (root; 10 minutes)
	@bash tests/cluster/down.sh
	@bash tests/cluster/up.sh cp
	@trap 'bash tests/cluster/down.sh' EXIT; NETPROXY_CLUSTER=$(CLUSTER_STATE) go run ./tests/scale $(SCALEFLAGS)

.PHONY: clean
clean: ## Remove what the targets made, what they downloaded and built included
	rm -rf bin dist .cache/envoy-* .cache/cluster/{bin,debian,images}
