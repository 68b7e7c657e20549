# Triptych. `make` lists what there is; `make up` is the only command a newcomer needs.

export CARGO_TARGET_DIR ?= $(HOME)/.cache/triptych/target
# Where rustup puts cargo, for shells that were started before it was installed.
export PATH := $(HOME)/.cargo/bin:$(PATH)

# Queries are checked against .sqlx, whatever database the shell happens to name.
export SQLX_OFFLINE := true

PACKAGES := -p triptych -p triptych-tests

.DEFAULT_GOAL := help
.PHONY: help up test test-browser sqlx bench screenshot

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
	cargo run --locked -p triptych-tests --bin sqlx -- --check
	cargo test --locked $(PACKAGES)
	@$(MAKE) --no-print-directory test-browser

test-browser: ## Test the pages in Chromium
	@tests/install test
	cargo build --locked $(PACKAGES)
	cd tests/browser && npm ci --no-audit --no-fund
	node tests/browser/run.mjs

sqlx: ## Write .sqlx anew after a query or the schema has changed
	@tests/install up
	cargo run --locked -p triptych-tests --bin sqlx

bench: ## Measure speed and size against nginx and raw S3
	@tests/install bench
	cargo build --locked --release $(PACKAGES)
	cargo run --locked --release -p triptych-tests --bin bench

screenshot: ## Make the picture in the README from a running board
	@tests/install screenshot
	cargo build --locked $(PACKAGES)
	cd tests/browser && npm ci --no-audit --no-fund
	node tests/browser/screenshot.mjs
