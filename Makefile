# An index of what is run by hand. Each target is a few commands; the tools do the work.

.DEFAULT_GOAL := help
SHELL := /bin/bash

# Arguments of `make up`: DAY, SPEED, SEED, FAULTS, PORT_OFFSET, DATA.
DATA ?= $(or $(HOB_DATA),.hob)
up_flags := $(if $(PORT_OFFSET),--port-offset $(PORT_OFFSET)) \
  $(if $(DAY),--set city.DAY=$(abspath $(DAY))) $(if $(SPEED),--set city.SPEED=$(SPEED)) \
  $(if $(SEED),--set city.SEED=$(SEED)) $(if $(FAULTS),--set city.FAULTS=$(FAULTS))

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: up
up: build ## run the takeaway: DAY= SPEED= SEED= FAULTS= PORT_OFFSET= DATA=
	@exec target/release/hob up examples/takeaway --data $(DATA) $(up_flags)

.PHONY: build
build: console ## build hob, the console and the example, optimised
	cargo build --release --workspace --bins

.PHONY: console
console: console/dist/index.html ## build the console

console/node_modules/.package-lock.json: console/package-lock.json
	@scripts/need node npm
	cd console && npm ci --ignore-scripts --no-audit --no-fund

console/dist/index.html: console/node_modules/.package-lock.json $(shell find console/src console/public console/index.html console/*.config.* -type f 2>/dev/null)
	cd console && npm run --silent build
	@touch $@

.PHONY: test
test: ## everything that CI runs
	@scripts/need cc node npm chromium ps
	cargo fmt --all --check
	$(MAKE) --no-print-directory console
	cd console && npm run --silent check && npm test --silent
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	cargo build --quiet --workspace --bins
	HOB_TEST_BROWSER=1 TAKEAWAY_PROFILE=dev cargo test --workspace --quiet
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet
	$(MAKE) --no-print-directory interop

.PHONY: interop
interop: ## run clients and suites that nobody here wrote against Hob
	@scripts/need cc node npm python3 python3-venv curl
	interop/prepare target/interop
	cargo build --quiet --workspace --bins
	python3 interop/run.py $${CARGO_TARGET_DIR:-target}/debug/hob $$(realpath target/interop)

.PHONY: check
check: ## the quick part: format, lints, tidy
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	cargo xtask tidy

.PHONY: fix
fix: ## format, and apply what clippy can
	cargo fmt --all
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged

.PHONY: api
api: console/node_modules/.package-lock.json ## regenerate the OpenAPI document and the console's types
	cargo run --quiet -p hob -- openapi > console/openapi.json
	cd console && npm run --silent types

.PHONY: clean-data
clean-data: ## forget everything that the takeaway did
	rm -rf $(DATA)

.PHONY: bench-bus
bench-bus: ## measure the bus beside Redis, NATS and RabbitMQ, in one run: SET=quick|full|kills
	bench/bus/run $(or $(SET),quick)

.PHONY: bench-ship
bench-ship: ## measure deploys, the router and instances beside nginx, haproxy and caddy: SET=smoke|quick|full
	bench/ship/run $(or $(SET),quick)

.PHONY: fuzz
fuzz: ## fuzz what reads bytes from disk and strangers: SECONDS=60 for each of TARGETS=
	fuzz/run $(or $(SECONDS),60) $(TARGETS)
