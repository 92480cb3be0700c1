# Everything a newcomer or a CI machine runs. `make help` lists it; nothing has to be installed by hand.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FUZZ_INPUTS ?= 1000000

.DEFAULT_GOAL := help
.PHONY: help install demo test test-long check simulate fuzz mutants format bench bench-etcd bench-crowd bench-reads bench-shares bench-restart soak plots clean

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

demo: $(STAMP) ## Three replicas, load, kill -9 of the leader, recovery: what clients notice
	@$(BIN)/python examples/demo.py

test: $(STAMP) ## Run the tests, two at a time
	$(BIN)/python -m pytest -n 2

test-long: $(STAMP) ## Run the tests that `make test` leaves out for the time they take
	$(BIN)/python -m pytest -n 2 -m long

check: $(STAMP) ## Formatting, lint, types and tests: what CI runs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2

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

bench: $(STAMP) ## Compare with one redis-server by redis-benchmark; ARGS="--help" lists the options
	@$(BIN)/python bench/against_redis.py $(ARGS)

bench-etcd: $(STAMP) ## Compare with three etcd servers in the same way (needs etcd and Debian's Go; says how)
	@$(BIN)/python bench/against_etcd.py $(ARGS)

bench-crowd: $(STAMP) ## Ten thousand idle clients, and clients that nobody wants: what they cost the others
	@$(BIN)/python bench/crowd.py $(ARGS)

bench-reads: $(STAMP) ## What it costs a read to be linearizable: against the same server without the proof
	@$(BIN)/python bench/reads.py $(ARGS)

bench-shares: $(VENV)/.bench ## Where each microsecond of a GET and a SET goes, by sampling a leader and a follower
	@$(BIN)/python bench/shares.py $(ARGS)

bench-restart: $(STAMP) ## How long a replica takes to come back, with what it has and with nothing
	@$(BIN)/python bench/restart.py $(ARGS)

soak: $(STAMP) ## Twenty minutes of constant load: memory, disk and waits stay bounded; ARGS="--help"
	@$(BIN)/python bench/soak.py $(ARGS)

plots: $(VENV)/.bench ## Draw the pictures of docs/performance.md from measurements; ARGS="--help" lists the options
	@$(BIN)/python bench/plot.py $(ARGS)

$(VENV)/.bench: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

clean: ## Remove .venv and caches
	rm -rf $(VENV) .fuzz .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
