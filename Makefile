# Each target makes the environment first if needed; make VENV=DIR PYTHON=python3.13 uses another one.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
export PYTHONDONTWRITEBYTECODE =  # empty: the tests start many processes, and each would compile the package again

.PHONY: demo app test test-hydra14 slow lint format docs bench referee
demo: $(READY)  ## train on drawn shapes and show the result
	$(BIN)/python -m segment.train

app: $(READY)  ## open the newest run of the demo in a page of the web browser
	@run=$$(ls runs/*_shapes_fcn_small*/checkpoints/best.ckpt 2>/dev/null | tail -n 1); \
	if [ -n "$$run" ]; then exec $(BIN)/python -m segment.app checkpoint="$$run"; \
	else echo "there is no run of the demo in runs/: make demo trains one in two minutes" >&2; exit 1; fi

test: $(READY)  ## the everyday tests, a few minutes
	$(BIN)/python -m pytest -n logical --dist worksteal

test-hydra14: $(READY)  ## the everyday tests with the next Hydra: make test-hydra14 VENV=.venv-hydra14
	$(BIN)/python -m pip install --quiet -r constraints-hydra14.txt
	$(BIN)/python -m pytest -n logical --dist worksteal

slow: $(READY)  ## the slow tests; CI runs them too
	$(BIN)/python -m pytest -n logical --dist worksteal -m slow

lint: $(READY)  ## style, types, and imports between folders
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## format, and fix what ruff can fix
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(READY)  ## build the documentation into build/site; warnings are errors, and the notebooks run
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --doctree-dir build/doctrees docs build/site

bench: $(READY)  ## the short form of all benchmarks beside the peers, within 20 minutes
	$(BIN)/python -m pip install --quiet --no-deps -r benchmarks/peers.txt
	$(BIN)/python -m benchmarks

referee: $(READY) .referee/ready  ## let datumaro read our annotations, and read what it writes
	$(BIN)/python -m pytest -m slow tests/data/annotations/test_referee.py

.referee/ready:
	$(PYTHON) -m venv .referee
	.referee/bin/python -m pip install --quiet datumaro==1.13  # its bounds do not agree with ours
	touch $@

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"  # the first version with --group
	$(BIN)/python -m pip install --quiet -c constraints.txt -e . --group dev
	touch $@
