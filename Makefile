# GhostStream's front door. `make help` lists the targets.
#
#   make demo                     set up, build, turn a real clip into a file and an ABR ladder
#   make test                     set up the peers and run every suite; GS_REQUIRE_PEERS=1 fails what would skip
#   make install PREFIX=/usr DESTDIR=/tmp/stage
#
# PROFILE is the Cargo profile: release, or dev, which builds faster.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
MAKEFLAGS += --no-print-directory

PROFILE ?= release
PREFIX ?= /usr/local
DESTDIR ?=
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DATADIR ?= $(PREFIX)/share

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
OUT := $(TARGET)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
VERSION := $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version *= *"\(.*\)"/\1/p' Cargo.toml)

# What set-up installed (GS_PYTHON, GS_FFMPEG9, ...) and where this tree's own things are built.
ENV := . tests/setup/env.sh; export GS_TARGET_DIR='$(TARGET)' GS_BUILD_DIR='$(OUT)' GS_STAGE='$(TARGET)/stage/$(PROFILE)' \
	GS_CLI='$(OUT)/ghoststream'; export PYO3_PYTHON=$${GS_PYTHON:-python3};

.PHONY: help build stage wheel demo test test-gpu check-headers install uninstall bench generate fmt lint docs clean \
	setup-build setup-gpu setup-demo setup-test setup-bench

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | column -t -s '|'

setup-build setup-gpu setup-demo setup-test setup-bench:
	@tests/setup/setup.sh $(@:setup-%=%)

# Cargo builds dependencies anew for another choice of packages: tests (dev) take all, as `cargo test` does.
build: setup-build ## the command, the C library and its header
	cargo build --profile $(PROFILE) $(if $(filter dev,$(PROFILE)),--workspace,-p ghoststream-cli -p ghoststream-ffi)

stage: build ## an installation inside the target folder, which examples and tests build against
	@$(MAKE) install PREFIX='$(TARGET)/stage/$(PROFILE)' DESTDIR= LIBDIR='$(TARGET)/stage/$(PROFILE)/lib' >/dev/null

# The wheel, and an environment that has it: target/venv sees the packages that set-up installed.
wheel: setup-demo ## the Python package, and target/venv with it installed
	@$(ENV) tests/setup/wheel.sh '$(PROFILE)'

demo: setup-demo stage wheel ## a real clip becomes a file and a ladder, from the command, C and Python
	@$(ENV) examples/demo.sh

test: setup-test ## every suite: Cargo's, then those under tests/ (SUITES="e2e abi" picks)
	@$(ENV) cargo test --workspace --no-fail-fast
	@$(MAKE) stage wheel PROFILE=dev
	@$(MAKE) run-suites PROFILE=dev

.PHONY: run-suites
run-suites:
	@$(ENV) tests/run $(SUITES)

test-gpu: setup-gpu ## what an NVIDIA GPU must show: memory, devices, kernels against the float reference and the host, their bandwidth, NVENC
	@$(ENV) GS_REQUIRE_GPU=1 cargo test -p ghoststream-sys --test nvidia real:: -- --nocapture
	@$(ENV) GS_REQUIRE_GPU=1 cargo test -p ghoststream --lib filter::tests::cuda
	@$(ENV) GS_REQUIRE_GPU=1 tests/run kernels
	@$(ENV) GS_REQUIRE_GPU=1 tests/standin/run real-driver
	cargo build -p ghoststream-cli
	@$(ENV) GS_REQUIRE_GPU=1 GS_CLI='$(TARGET)/debug/ghoststream' "$${GS_PYTHON:-python3}" tests/nvenc/card.py

check-headers: ## the public headers compile as every C and C++ standard they promise
	@tests/setup/check-headers.sh

bench: setup-bench ## measure against FFmpeg, PyAV and other servers; the table goes to target/bench
	@$(MAKE) stage wheel PROFILE=release
	@$(ENV) python='$(TARGET)/venv/bin/python'; [ -x "$$python" ] || python=$$GS_PYTHON; \
		"$$python" tests/bench/bench.py --out '$(TARGET)/bench' $(BENCH)

generate: setup-test ## rewrite the committed files that are made from the code
	@$(ENV) tests/setup/generate.sh

fmt: ## format the Rust code
	cargo fmt --all

lint: setup-build ## formatting and clippy, warnings are errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

docs: setup-build ## the Rust documentation, warnings are errors
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps

install: ## into $(DESTDIR)$(PREFIX): command, libraries, headers, pkg-config, CMake, completions, man page
	@test -x '$(OUT)/ghoststream' || $(MAKE) build
	@OUT='$(OUT)' VERSION='$(VERSION)' DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' BINDIR='$(BINDIR)' \
		LIBDIR='$(LIBDIR)' INCLUDEDIR='$(INCLUDEDIR)' DATADIR='$(DATADIR)' tests/setup/install.sh

uninstall: ## remove what install put there
	@OUT='$(OUT)' VERSION='$(VERSION)' DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' BINDIR='$(BINDIR)' \
		LIBDIR='$(LIBDIR)' INCLUDEDIR='$(INCLUDEDIR)' DATADIR='$(DATADIR)' tests/setup/install.sh --remove

clean: ## remove what was built (the cache outside the tree stays)
	cargo clean
	rm -rf demo-out dist
