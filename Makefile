# Triptych. `make` lists what there is; `make up` is the only command a newcomer needs.

export CARGO_TARGET_DIR ?= $(HOME)/.cache/triptych/target
# What tests/install builds, and where rustup and Go's own archive go, for shells that were started before.
export PATH := $(HOME)/.cache/triptych/bin:$(HOME)/.cargo/bin:$(PATH):/usr/local/go/bin

# Queries are checked against .sqlx, whatever database the shell happens to name.
export SQLX_OFFLINE := true

# Always both: cargo would build what they share once more for the features that one of them alone wants.
PACKAGES := -p triptych -p triptych-tests
PROGRAMS := $(CARGO_TARGET_DIR)/debug

.DEFAULT_GOAL := help
.PHONY: help up test test-browser test-chart test-cluster test-minio test-pgbouncer images kind kind-previous kind-down chart sqlx bench screenshot

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## Run the board here until Ctrl-C (REPLICAS=3 PORT=8080 ADDRESS=127.0.0.1)
	@tests/install up
	cargo build --locked --release $(PACKAGES)
	@exec "$(CARGO_TARGET_DIR)/release/stack"

test: ## Check and test everything
	@tests/install test
	cargo fmt --all --check
	cargo clippy --locked $(PACKAGES) --all-targets -- -D warnings
	cargo build --locked $(PACKAGES)
	$(PROGRAMS)/sqlx --check
	cargo test --locked $(PACKAGES)
	@$(MAKE) --no-print-directory test-chart test-browser

test-browser: ## Test the pages in Chromium
	@tests/install test
	cargo build --locked $(PACKAGES)
	cd tests/browser && npm ci --no-audit --no-fund
	node tests/browser/run.mjs

test-chart: ## Check the Helm chart: templates, types, security, nginx configuration
	@tests/install chart
	cd tests/chart && export GOTOOLCHAIN=auto && go vet . && go test -count=1 .

test-minio: ## Run the system tests on a real MinIO
	@tests/install minio
	cargo build --locked $(PACKAGES)
	TRIPTYCH_TEST_MINIO="$$(command -v minio)" cargo test --locked $(PACKAGES) --test system

test-pgbouncer: ## Run the system tests through PgBouncer in transaction mode
	@tests/install test
	cargo build --locked $(PACKAGES)
	TRIPTYCH_TEST_PGBOUNCER=1 cargo test --locked $(PACKAGES) --test system

kind: ## Bring the board to a kind cluster here (KIND_CLUSTER=triptych, KIND_NODE_IMAGE=, PREBUILT=1)
	@k8s/kind up

kind-down: ## Delete that cluster
	@k8s/kind down

images: ## Build the two images (PREBUILT=1: compile outside of Docker)
	@k8s/images

kind-previous: ## Load the images of the release before into that cluster, and print the PREVIOUS_TAG that test-cluster wants
	@k8s/kind previous

# Which images it installs, the chart and the images that it upgrades from, and where the Ingress of the cluster listens.
test-cluster: export REPOSITORY ?= triptych
test-cluster: export WEB_REPOSITORY ?= triptych-web
test-cluster: export TAG ?= $(shell k8s/images tag)
test-cluster: export PREVIOUS_CHART ?= $(addsuffix /helm/triptych,$(shell k8s/previous))
test-cluster: export PREVIOUS_TAG ?=
test-cluster: export HOST ?= triptych-test.localhost
test-cluster: export INGRESS ?= 127.0.0.1:8080
test-cluster: ## Test the board on the current cluster (REPOSITORY, WEB_REPOSITORY, TAG, PREVIOUS_CHART, PREVIOUS_TAG, HOST, INGRESS)
	@tests/install cluster
	cargo build --locked $(PACKAGES)
	@exec $(PROGRAMS)/cluster

chart: ## Write the chart's README and the plain manifests in k8s/ anew
	@tests/install chart
	@k8s/render

sqlx: ## Write .sqlx anew after a query or the schema has changed
	@tests/install up
	cargo build --locked $(PACKAGES)
	$(PROGRAMS)/sqlx

bench: ## Measure speed and size against nginx and raw S3, and a large board against a small one
	@tests/install bench
	cargo build --locked --release $(PACKAGES)
	$(CARGO_TARGET_DIR)/release/bench

screenshot: ## Make the picture in the README from a running board
	@tests/install screenshot
	cargo build --locked $(PACKAGES)
	cd tests/browser && npm ci --no-audit --no-fund
	node tests/browser/screenshot.mjs
