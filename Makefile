# Bare `make` says whether a change may go in: lint, types, tests. Everything lives in .venv, made on first use by
# the first interpreter that is new enough; choose another with `make PYTHON=/path/to/python`.
# Two stamps, because whoever only wants to see the demo should not have to fetch the type checkers.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
BENCH ?= $(filter-out benchmarks/_%,$(wildcard benchmarks/*.py))
BIN := .venv/bin
# Rooms whose tests share no server and no clock with others: theirs run side by side, a file on one core.
ALONE := $(addprefix tests/,analysis core corpus derive footprints house logs report sql typing verify)

# Build requirements are installed apart from ours: the environment is the only way to pin them in every pip.
# Relative, because pip takes a space in a path for the end of it.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: all lint types test demo bench brokers brokers-stop format pins clean

all: lint types test

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.dev
	$(BIN)/mypy
	$(BIN)/pyright

test: .venv/.dev
	@$(BIN)/python .ci/tools.py
	$(BIN)/python -m pytest -rs -n auto --dist loadfile $(ALONE)
	$(BIN)/python .ci/brokers.py around $(BIN)/python -m pytest -rs $(addprefix --ignore=,$(ALONE))

demo: .venv/.product
	$(BIN)/commute demo

bench: .venv/.dev
	@set -e; for script in $(BENCH); do echo "== $$script"; $(BIN)/python $$script; done

# RabbitMQ, Kafka, Mosquitto and PostgreSQL for tests, on this machine; `make test` has its own unless these run.
brokers: .venv/.python
	@$(BIN)/python .ci/brokers.py start

brokers-stop:
	@$(PYTHON) .ci/brokers.py stop

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The newest versions that fit, tried in a new environment; commit the file if `make` still passes.
pins:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo 'make pins needs Python 3.11, the oldest that we support: make pins PYTHON=python3.11' >&2; exit 2; }
	PYTHON="$(PYTHON)" PIP_CONSTRAINT= PIP_BUILD_CONSTRAINT= bash .ci/pins > constraints.new
	mv constraints.new constraints.txt

clean:
	@test ! -d .brokers || $(PYTHON) .ci/brokers.py forget
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests benchmarks examples .ci -name __pycache__ -prune -exec rm -rf {} +

.venv/.python:
	@test -n "$(PYTHON)" || { echo 'commute needs Python 3.11 or newer, and found none.' \
		'Install one, or name it: make PYTHON=/path/to/python3.11' >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'commute needs Python 3.11 or' \
		'newer; $(PYTHON) is older or does not run. Name another: make PYTHON=/path/to/python3.11' >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo '$(PYTHON) comes without venv. Install that' \
		'(on Debian and Ubuntu the package python3-venv), or name another: make PYTHON=...' >&2; exit 2; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.product: .venv/.python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

# Dependency groups need a newer pip than Python 3.11 brings; constraints.txt says which.
.venv/.dev: .venv/.product
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@
