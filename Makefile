# The commands of this checkout; `make` alone lists them. One environment, .venv, is made on first
# use and refreshed when pyproject.toml or constraints.txt change.

VENV ?= .venv
PEER ?= .venv-peer
SWEEP ?= configs/sweeps/freesolv.yaml
EXTRAS := postgres,dashboard,s3,examples,dev
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SHELL_SCRIPTS := .ci/run scripts/*.sh

# The first of these that runs and is a Python this package supports; looked up only when needed.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))
PYTHON ?= $(firstword $(foreach python,python3.11 python3.12 python3,\
	$(shell $(python) -c '$(FITS)' >/dev/null 2>&1 && command -v $(python))))

export RAY_USAGE_STATS_ENABLED := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Ray keeps a token under HOME, and cannot start where there is none.
ifeq ($(strip $(HOME)),)
export HOME := $(abspath $(VENV))/home
endif

.DEFAULT_GOAL := help
.PHONY: help install sweep test stack-test faults bench check format clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

install: $(STAMP) ## Make the environment, or refresh it

sweep: $(STAMP) data/freesolv.csv ## Quick start: 16 models of FreeSolv, then a table of the best
	$(BIN)/chemprop-hpo sweep $(SWEEP)

# They start no Ray and measure no time: several files at once. The others follow one by one.
SIDE_BY_SIDE = tests/benchmarks tests/configs tests/conformance tests/storage tests/test_compose.py \
	$(addprefix tests/hpo/, chemistry commands evaluation predictor progress promotion report search \
	tracking ensembles/combining ensembles/configurations ensembles/results) \
	$(wildcard tests/hpo/ensembles/test_*.py) \
	$(foreach name,crew jobs,tests/hpo/ensembles/members/test_$(name).py) \
	$(foreach name,examples identity plan sparkline,tests/hpo/test_$(name).py) \
	$(foreach name,capacity checkpoint killed_training last_words training_thread weights,\
	tests/hpo/trial/test_$(name).py)

# Each starts a Ray of its own, and most of their time goes by waiting: two files at once.
IN_PAIRS = tests/hpo/ensembles/members/test_training.py tests/stack \
	$(foreach name,contract outages sweep two_drivers,tests/hpo/test_$(name).py) \
	$(foreach name,cluster continued_training ending failures interrupts joined_ray private_ray \
	temporary trainable workers_ahead,tests/hpo/trial/test_$(name).py)

test: $(STAMP) ## Run the tests; make test ARGS="-k house" runs some
ifeq ($(ARGS),)
	@code=0; set -x; \
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile --max-worker-restart 0 $(SIDE_BY_SIDE) || code=$$?; \
	$(BIN)/pytest --numprocesses 2 --dist loadfile --max-worker-restart 0 $(IN_PAIRS) || code=$$?; \
	$(BIN)/pytest $(addprefix --ignore=,$(SIDE_BY_SIDE) $(IN_PAIRS)) || code=$$?; \
	exit $$code
else
	$(BIN)/pytest $(ARGS)
endif

stack-test: $(STAMP) data/freesolv.csv ## A sweep on the services of docker-compose.yml, without Docker
	$(BIN)/python -m tests.stack $(ARGS)

faults: $(STAMP) ## Kill sweeps at random moments, an hour of it; ARGS="--kills 10" for less
	$(BIN)/python -m tests.faults $(ARGS)

bench: $(STAMP) ## Race `chemprop hpopt`, hours of it; ARGS="--only ours --repeats 1" for less
	@$(BIN)/python benchmarks/race.py --check $(ARGS)
	@$(MAKE) --no-print-directory $(PEER)/.installed || echo "no $(PEER): Chemprop's own part is left out"
	$(BIN)/python -u benchmarks/race.py --peer $(PEER) $(ARGS)

check: $(STAMP) ## Format, lint, types, import contracts, shell scripts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/shellcheck $(SHELL_SCRIPTS)

format: $(STAMP) ## Format the code and put right what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove caches and build output; studies, data and .venv stay
	rm -rf build dist .coverage .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { \
		echo "no Python 3.11 or 3.12 found; name one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@mkdir -p "$$HOME"
	@touch $@

# What is raced against. HyperOpt, which Chemprop searches with, needs an older setuptools.
$(PEER)/.installed: constraints.txt
	$(PYTHON) -m venv $(PEER)
	grep -v '^setuptools==' constraints.txt > $(PEER)/constraints.txt
	$(PEER)/bin/pip install --quiet --constraint $(PEER)/constraints.txt 'chemprop[hpopt]'
	@touch $@

data/freesolv.csv: scripts/example_data.py | $(STAMP)
	$(BIN)/python scripts/example_data.py $@
