# Larder, from the command line: run it, test it, check it, measure it.

TARGET := $(or $(CARGO_TARGET_DIR),target)
CARGO ?= cargo
FUZZ_SECONDS ?= 20
PYTHON_ENV := $(TARGET)/python
IMAGE ?= ghcr.io/larder/larder:0.1.0

.DEFAULT_GOAL := help
.PHONY: help run run-apiserver test check bench faults fuzz image rust-tests python-tests setup servers

help: ## This list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: ## Serve ./larder-data on loopback with certificates made on the spot; prints a curl line.
	$(CARGO) run --release --locked -- serve --dev

run-apiserver: ## Serve the Kubernetes API on loopback, from ./larder-data-apiserver; prints a kubectl line.
	$(CARGO) run --release --locked -- apiserver --dev

test: setup servers rust-tests python-tests ## Everything that can fail: Rust, curl and rqlite's Python client.

check: setup servers ## What a change has to pass: format, lints, tests, documentation, dependencies.
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(MAKE) rust-tests python-tests
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked
	PATH="$(TARGET)/tools/bin:$$PATH" command -v cargo-deny >/dev/null || \
		$(CARGO) install cargo-deny --locked --root $(TARGET)/tools
	PATH="$(TARGET)/tools/bin:$$PATH" $(CARGO) deny check bans licenses sources

bench: servers ## Measure the floors, the servers, and moving reports out of Consul.
	$(CARGO) run --release --locked -- bench
	$(CARGO) run --release --locked -- bench migrate
	$(CARGO) run --release --locked -- bench apiserver

faults: fuzz servers ## The fault lab and the laws in their long form, and the fuzzers.
	LARDER_FAULTS=long $(CARGO) test --release --locked --test faults -- --nocapture
	LARDER_FAULTS=long $(CARGO) test --release --locked --package larder-client --test laws --test migrate
	LARDER_FAULTS=long $(CARGO) test --release --locked --package larder-apiserver --test store model
	LARDER_FAULTS=long $(CARGO) test --release --locked --test client laws

fuzz: ## Each fuzz target for FUZZ_SECONDS (20) seconds; needs a nightly toolchain.
	fuzz/run $(FUZZ_SECONDS)

image: ## Build the image (IMAGE, RUST_IMAGE, RUNTIME_IMAGE); takes docker with buildx.
	docker buildx build --provenance=false --tag $(IMAGE) \
		--build-arg LARDER_COMMIT=$(shell git rev-parse HEAD) \
		--build-arg SOURCE_DATE_EPOCH=$(shell git log -1 --format=%ct) \
		$(if $(RUST_IMAGE),--build-arg RUST_IMAGE=$(RUST_IMAGE)) \
		$(if $(RUNTIME_IMAGE),--build-arg RUNTIME_IMAGE=$(RUNTIME_IMAGE)) \
		--output type=docker,rewrite-timestamp=true .

setup:
	@.ci/setup

servers:
	@tests/servers/prepare

rust-tests:
	$(CARGO) test --workspace --locked

python-tests: $(PYTHON_ENV)/.installed
	LARDER_PYTHON=$(abspath $(PYTHON_ENV))/bin/python \
		$(CARGO) test --locked --test sidecar -- --ignored --exact pyrqlite::drives_the_server

$(PYTHON_ENV)/.installed: tests/pyrqlite/requirements.txt
	python3 -m venv --clear $(PYTHON_ENV)
	$(PYTHON_ENV)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@
