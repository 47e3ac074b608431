# `make demo` and `make test` are all a newcomer needs; each sets up what it uses in .venv.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: help setup demo test lint types docs tree bench paper check-long build clean

help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.dev ## install the package, editable, and its tools into .venv

demo: $(VENV)/.dev ## the main job on real data: hares and lynxes of Hudson Bay
	$(BIN)/python examples/hudson_bay.py

# One thread for each worker: more would fight over the same cores. Whole files: what the tests of
# one share, models and compiled systems, is made once.
test: $(VENV)/.dev ## the tests, the docstrings' examples, those of README and docs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile

lint: $(VENV)/.dev ## style and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.dev ## static types
	$(BIN)/mypy
	$(BIN)/mypy --package benchmarks.paper

docs: $(VENV)/.docs ## the documentation as HTML, in docs/_build
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs docs/_build
	@echo "open docs/_build/index.html"

tree: ## the folders, as CONTRIBUTING.md shows them
	$(PYTHON) .ci/tree.py

bench: $(VENV)/.dev ## every benchmark, see benchmarks/README.md
	@set -e; for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script; done

paper: $(VENV)/.dev ## the study of the WARP paper's tables, hours; goes on where it was stopped
	$(BIN)/python -m benchmarks.paper

# pytest ends with 5 where no test is marked.
check-long: $(VENV)/.dev ## what takes too long for every change: long tests, benchmarks
	$(BIN)/python -m pytest -m long || [ $$? -eq 5 ]
	$(MAKE) bench

build: $(VENV)/.dev ## source archive and wheel, in dist
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist

clean: ## remove what these verbs made, the environment included
	rm -rf $(VENV) build dist docs/_build docs/_generated
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Brought up to date when what is declared has changed, else left alone.
$(VENV)/.dev: pyproject.toml constraints.txt
	@echo "setting up $(VENV); this takes a few minutes, once"
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable '.[dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.dev
	$(INSTALL) --editable '.[docs]'
	@touch $@
