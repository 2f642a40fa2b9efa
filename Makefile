# Each target makes its environment when needed; make VENV=DIR PYTHON=python3.13 for another one.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: demo test slow lint format bench
demo: $(READY)  ## train on drawn shapes and show what came of it
	$(BIN)/python -m segment.train

test: $(READY)  ## the everyday tests, a few minutes
	$(BIN)/python -m pytest

slow: $(READY)  ## what the everyday tests leave out; CI runs it too
	$(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY)  ## us beside the peers, the short form of all benchmarks, within 20 minutes
	$(BIN)/python -m pip install --quiet --no-deps -r benchmarks/peers.txt
	$(BIN)/python -m benchmarks

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"  # the first with --group
	$(BIN)/python -m pip install --quiet -c constraints.txt -e . --group dev
	touch $@
