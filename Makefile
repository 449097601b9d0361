# silt: build, test, install. `make help` lists the targets.
#
# All of JavaScript here (generators, compilers, tests, silt itself) runs on the Node that package-lock.json pins. npm only needs
# to unpack: no install script of any dependency is run.

PREFIX ?= /usr/local
export DESTDIR

NODE_ARCH := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x64)
NODE_HOME := $(CURDIR)/node_modules/node-linux-$(NODE_ARCH)
NODE := $(NODE_HOME)/bin/node
CC := gcc
# For `make integration`: which test files (a pattern of paths) and which containerds (system,trixie,sid).
SUITE ?=
PEERS ?=
# For `make bench`: what to measure (everything) and how often.
CASES ?=
ROUNDS ?= 11
# no: leave out the closing `tests: …` line (the caller prints it).
CLOSING ?= yes

# npm itself runs on the machine's Node: it replaces the pinned one.
machine_path := $(PATH)
export PATH := $(NODE_HOME)/bin:$(PATH)

packages := node_modules/.package-lock.json
native := build/native/silt.node build/native/silt-interp
rooms := errors native syscall oci gofer sandbox shim cli proto ttrpc/src
sources := $(shell find $(rooms) -name '*.ts' ! -name '*.test.ts')
tool_sources := $(shell find tools integration/harness $(wildcard integration/bench) -name '*.ts')
programs := bin/silt bin/containerd-shim-silt-v1

.PHONY: build packages generated native ttrpc deps peers install uninstall clean check check-format check-lint check-types demo test unit integration bench vm-test help
.DEFAULT_GOAL := build

build: $(programs) native build/bundles.stamp build/reference.stamp ttrpc/dist/index.js ## build everything (the default)

# By the lock file, and without changing it. Not `npm ci`: that of npm 11 refuses a lock file without the optional packages of
# other platforms (compilers of Windows, say), and npm leaves those out of it where the registry does not have them.
$(packages): package-lock.json package.json
	PATH='$(machine_path)' npm install --no-save --no-audit --no-fund
	touch $@
	@$(NODE) --version >/dev/null || { echo "npm has not unpacked the pinned Node to $(NODE)" >&2; exit 1; }

packages: $(packages)

# Generated code. Each generator writes what its name says and is run again when it or its input is newer.

generated: build/proto.stamp build/constants.stamp build/baseline.stamp

build/proto.stamp: $(packages) $(wildcard proto/*.mjs proto/contracts/*.proto)
	@mkdir -p build
	$(if $(wildcard proto/generate.mjs),$(NODE) proto/generate.mjs)
	@touch $@

build/constants.stamp: $(packages) $(wildcard syscall/constants/*)
	@mkdir -p build
	$(if $(wildcard syscall/constants/generate.mjs),$(NODE) syscall/constants/generate.mjs)
	@touch $@

build/baseline.stamp: build/constants.stamp $(filter-out %.test.ts,$(wildcard oci/seccomp/*.ts oci/seccomp/baseline/*.ts)) tools/bundle.mjs
	$(NODE) tools/bundle.mjs --generators
	$(NODE) build/tools/generate-baseline.js build
	@touch $@

# The native part has its own Makefile, which knows what is out of date.

native: $(packages)
	@command -v $(CC) >/dev/null || { echo "no C compiler ($(CC)); make deps installs what is missing" >&2; exit 1; }
	$(MAKE) --no-print-directory -C native OUT=../build/native NODE_INCLUDE=$(NODE_HOME)/include/node CC=$(CC) all

# The two programs are native/front.c under two names, which it tells apart by argv[0]. It finds Node, bundles and addon in ../lib/silt beside
# its own directory when installed, else in ../build. Without it a shell script does the same.

ifneq ($(wildcard native/front.c),)
launcher := build/native/silt-front
$(launcher): native ;
else
launcher := tools/launcher.sh
endif

$(programs): $(launcher)
	@mkdir -p bin
	install -m 755 $(launcher) $@.new
	mv -f $@.new $@

build/node: | $(packages)
	@mkdir -p build
	ln -sfn $(NODE) $@

build/bundles.stamp: build/proto.stamp build/constants.stamp build/baseline.stamp $(packages) $(sources) tools/bundle.mjs tsconfig.json | build/node
	$(NODE) tools/bundle.mjs
	@touch $@

build/tools.stamp: build/proto.stamp build/constants.stamp $(packages) $(sources) $(tool_sources) tools/bundle.mjs
	$(NODE) tools/bundle.mjs --tools
	@touch $@

# Manual pages and completions, from the definitions of the commands.
build/reference.stamp: build/tools.stamp build/bundles.stamp
	$(NODE) build/tools/reference.js
	@touch $@

ttrpc: ttrpc/dist/index.js
ttrpc/dist/index.js: $(packages) $(shell find ttrpc/src -name '*.ts') ttrpc/tsconfig.json
	$(NODE) node_modules/typescript/bin/tsc -p ttrpc
	@touch $@

deps: ## install from Debian what building and testing need and this machine lacks
	@tools/deps

demo: ## show what silt does, in under a minute, with a private containerd
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory build build/tools.stamp
	@$(NODE) build/tools/demo.js

check: $(packages) generated ttrpc ## formatting, lint and types
	@$(MAKE) --no-print-directory --keep-going --output-sync -j3 check-format check-lint check-types

check-format: $(packages) generated ttrpc
	$(NODE) node_modules/prettier/bin/prettier.cjs --check .

check-lint: $(packages) generated ttrpc
	$(NODE) node_modules/eslint/bin/eslint.js .

check-types: $(packages) generated ttrpc
	$(NODE) node_modules/typescript/bin/tsc --noEmit -p .

run_tests = @$(NODE) build/tools/run-tests.js --closing=$(CLOSING) --suite='$(SUITE)' --peers='$(PEERS)'

test: ## unit tests, then integration tests against real containerd
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory build build/tools.stamp
	$(run_tests) unit integration

unit: build build/tools.stamp ## unit tests only: native and TypeScript
	$(run_tests) unit

integration: build build/tools.stamp ## integration tests only; SUITE=pattern PEERS=system,trixie,sid
	$(run_tests) integration

peers: build/tools.stamp ## fetch the newer containerds that the tests also run against
	$(NODE) build/tools/peers.js

bench: build build/tools.stamp ## measure, beside others; CASES='T1 T2' ROUNDS=11
	@cp -fL $(NODE) build/bench-node # not silt's own: the kernel would divide the memory of one program's text among both
	@build/bench-node build/tools/bench.js --rounds=$(ROUNDS) $(CASES)

vm-test: build build/tools.stamp ## containers on other kernels, in virtual machines; PEERS=bookworm (needs qemu-system-x86; minutes)
	@command -v qemu-system-x86_64 >/dev/null || { echo 'install the Debian package qemu-system-x86' >&2; exit 1; }
	@$(NODE) build/tools/vm-test.js $(PEERS)

install: build ## install under PREFIX (/usr/local), below DESTDIR if set
	@tools/install $(PREFIX)

uninstall: ## take away what install has put there
	@tools/install --remove $(PREFIX)

clean: ## delete what was built; node_modules stays
	rm -rf build bin ttrpc/dist

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14
