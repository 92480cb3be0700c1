# Everything a newcomer or a CI machine runs. `make help` lists it; nothing has to be installed by hand.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Three at a time, also on two cores: a quarter of their time tests wait, for disks, timers and processes.
PYTEST := $(BIN)/python -m pytest -n 3 --dist worksteal
FUZZ_INPUTS ?= 1000000
COMPILED_TESTS ?= tests/test_compiled.py tests/core tests/kv tests/network tests/node tests/server tests/storage tests/process

# Speed is measured of what users run, which is compiled. Without a C compiler: make bench INTERPRETED=1
COMPILED := $(CURDIR)/build/compiled
UNVERIFIED := $(CURDIR)/build/unverified$(if $(INTERPRETED),-interpreted)
INTO := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target
COMPILED_INTO := echo "Compiling (two to three minutes)"; HATCH_BUILD_HOOKS_ENABLE=1 $(INTO)
SOURCES := pyproject.toml hatch_build.py $(shell find src -name '*.py')
ifdef INTERPRETED
MEASURED := $(STAMP)
MEASURE := $(BIN)/python
else
MEASURED := $(COMPILED)/.installed
MEASURE := PYTHONPATH=$(COMPILED) $(BIN)/python
endif

.DEFAULT_GOAL := help
.PHONY: help install compiled demo test test-long test-compiled check simulate fuzz mutants format bench bench-etcd bench-crowd bench-reads bench-shares bench-restart soak plots clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## Fill .venv with Oarlock and its tools (needs Python 3.11 or newer)

# The stamp is newer than pyproject.toml when .venv holds what it asks for, so a second run needs no network.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Oarlock needs Python 3.11 or newer; say which with: make PYTHON=/path/to/python3.11 install" >&2; exit 1; }
	@echo "Filling $(VENV) (once; about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[server,test,dev]'
	@touch $@

compiled: $(COMPILED)/.installed ## Compile what every request passes, to build/compiled (needs a C compiler)

$(COMPILED)/.installed: $(STAMP) $(SOURCES)
	@rm -rf $(COMPILED)
	@$(COMPILED_INTO) $(COMPILED) . || { echo "Benchmarks run without: make bench INTERPRETED=1" >&2; exit 1; }
	@PYTHONPATH=$(COMPILED) $(BIN)/python -c 'import oarlock; assert oarlock.__compiled__, oarlock.__file__'
	@touch $@

demo: $(STAMP) ## Three replicas, load, kill -9 of the leader, recovery: what clients notice
	@$(BIN)/python examples/demo.py

test: $(STAMP) ## Run the tests, two at a time
	$(PYTEST)

test-long: $(STAMP) ## Run the tests that `make test` leaves out for the time they take
	$(PYTEST) -m long

test-compiled: $(COMPILED)/.installed ## Run the tests of what is compiled, compiled
	PYTHONPATH=$(COMPILED) $(PYTEST) $(COMPILED_TESTS)

check: $(STAMP) ## Formatting, lint, types and tests: what CI runs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST)

simulate: $(STAMP) ## Two thousand simulated clusters under faults; ARGS="--help" lists the options
	@$(BIN)/oarlock simulate --seeds 0..1999 --jobs 2 $(ARGS)

fuzz: $(VENV)/.fuzz ## Fuzz every decoder, a million inputs each (FUZZ_INPUTS=n); ARGS="--help" lists the options
	@$(BIN)/python -m fuzz --inputs $(FUZZ_INPUTS) $(ARGS)

$(VENV)/.fuzz: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	@touch $@

mutants: $(STAMP) ## Plant bugs in the product, and see which script or simulated run catches each; ARGS="--help"
	@$(BIN)/python -m mutants $(ARGS)

format: $(STAMP) ## Rewrite the sources in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(MEASURED) ## Compare with one redis-server by redis-benchmark; ARGS="--help" lists the options
	@$(MEASURE) bench/against_redis.py $(ARGS)

bench-etcd: $(MEASURED) ## Compare with three etcd servers in the same way (needs etcd and Debian's Go; says how)
	@$(MEASURE) bench/against_etcd.py $(ARGS)

bench-crowd: $(MEASURED) ## Ten thousand idle clients, and clients that nobody wants: what they cost the others
	@$(MEASURE) bench/crowd.py $(ARGS)

bench-reads: $(MEASURED) $(UNVERIFIED)/.installed ## What it costs a read to be linearizable: against the same server without the proof
	@$(MEASURE) bench/reads.py --unverified $(UNVERIFIED) $(ARGS)

$(UNVERIFIED)/.installed: $(STAMP) $(SOURCES) bench/unverified.py
	@$(BIN)/python bench/unverified.py build/unverified-source
	@rm -rf $(UNVERIFIED)
	@$(if $(INTERPRETED),$(INTO),$(COMPILED_INTO)) $(UNVERIFIED) build/unverified-source
	@touch $@

bench-shares: $(VENV)/.bench ## Where each microsecond of a GET and a SET goes, by sampling a leader and a follower
	@$(BIN)/python bench/shares.py $(ARGS)

bench-restart: $(MEASURED) ## How long a replica takes to come back, with what it has and with nothing
	@$(MEASURE) bench/restart.py $(ARGS)

soak: $(MEASURED) ## Twenty minutes of constant load: memory, disk and waits stay bounded; ARGS="--help"
	@$(MEASURE) bench/soak.py $(ARGS)

plots: $(VENV)/.bench ## Draw the pictures of docs/performance.md from measurements; ARGS="--help" lists the options
	@$(BIN)/python bench/plot.py $(ARGS)

$(VENV)/.bench: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

clean: ## Remove .venv and caches
	rm -rf $(VENV) .fuzz .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
