# Two commands: `make run` starts everything, `make test` proves it. Both install what they miss; see scripts/setup.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# A Rust that was just installed may not be on the path yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

# The system's OpenSSL where its headers are here; else one of our own, which takes a minute to build.
openssl := $$(pkg-config --exists openssl 2>/dev/null || echo ,vendored-openssl)
features := lab,stripe-stub$(openssl)
# Half of a test's time is waiting: for a server, a clock, a lease.
threads := $$((2 * $$(getconf _NPROCESSORS_ONLN)))
# Where scripts/setup puts what it installs.
home := $${GUILDHALL_HOME:-$$PWD/.guildhall}
# What `make run` builds and starts.
program := $${CARGO_TARGET_DIR:-target}/debug/guildhall

.PHONY: help run test bench check fmt clean

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Start Guildhall with a PostgreSQL and a Redis of its own (ARGS="--port 9000" and the like)
	@scripts/setup run
	@echo "run: building (the first time takes minutes)" >&2
	@cargo build --locked --features stripe-stub$(openssl)
	@exec "$(program)" dev $(ARGS)

test: ## Run the tests on throwaway servers (REDIS=off: without Redis; ARGS="name" picks some)
	@scripts/setup test
	@PATH="$(home)/venv/bin:$$PATH" RUST_TEST_THREADS="$${RUST_TEST_THREADS:-$(threads)}" \
		cargo test --locked --features $(features) $(ARGS)

bench: ## Measure against ceilings of this machine (PATHS="licenses rows" picks some; ARGS="--help" tells more)
	@scripts/setup run
	@cargo bench --locked --features stripe-stub$(openssl) --bench paths -- $(PATHS) $(ARGS)

check: ## What has to pass before a change is proposed: formatting, lints, the API document, the tests
	@.ci/run

fmt: ## Format the code
	@cargo fmt

clean: ## Remove what was built and what the stack keeps
	@if [[ ! -x "$(program)" ]]; then rm -rf "$(home)/data" "$(home)/stack"; \
	elif ! "$(program)" dev --remove; then echo "clean: what the stack keeps stays; what was built goes" >&2; fi
	@cargo clean

.PHONY: openapi
openapi: ## Write the API documents anew, after a change of routes or types
	@cargo build --quiet --locked --features $(features)
	@cargo run --quiet --locked --features $(features) -- openapi > openapi/openapi.json
	@cargo run --quiet --locked --features $(features) -- openapi --older > openapi/openapi-3.0.json

# For .ci/run, which lints what is tested here.
.PHONY: features
features:
	@echo $(features)
