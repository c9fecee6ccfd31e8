# Umbel. `make help` lists the targets; `make demo` and `make test` are the two to know.
#
# Everything lives in .venv, made with the Python named by PYTHON. Versions are pinned by
# constraints.txt.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready-dev
READY_DEMO := $(VENV)/.ready-demo
CELERY_VENV ?= .venv-celery
READY_CELERY := $(CELERY_VENV)/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SOURCES := packages/umbel/src packages/umbel-celery/src
PYTEST_ARGS ?=
TORTURE_ARGS ?= --tasks 50000 --faults 130

.DEFAULT_GOAL := help
.PHONY: help demo test quick check lint format types imports bench torture docs build clean distclean

help: ## Show the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY_DEMO) ## Run tasks on the embedded store: no server needed, ends by itself
	@$(BIN)/python tools/demo.py

test: check $(READY) $(READY_CELERY) ## All checks and all tests
	UMBEL_TEST_CELERY_PYTHON="$${UMBEL_TEST_CELERY_PYTHON:-$(CURDIR)/$(CELERY_VENV)/bin/python}" \
	  $(BIN)/python -m pytest $(PYTEST_ARGS)

quick: $(READY) ## The fast tests only
	$(BIN)/python -m pytest -m "not slow" tests/unit tests/conformance tests/wire $(PYTEST_ARGS)

check: lint types imports ## Style, types and import rules

lint: $(READY) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY) ## Let ruff format and mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(READY) ## mypy --strict and pyright
	$(BIN)/mypy -p umbel
	$(BIN)/mypy -p umbel_celery
	$(BIN)/pyright --pythonpath $(BIN)/python

imports: $(READY) ## The floors of the house, by import-linter
	$(BIN)/lint-imports

bench: $(READY) ## Run the benchmarks; see benchmarks/README.md
	$(BIN)/python -m benchmarks

torture: $(READY) ## Break everything while tasks flow, on SQLite and on Redis; see torture/README.md
	$(BIN)/python -m torture run --store sqlite $(TORTURE_ARGS)
	$(BIN)/python -m torture run --store redis $(TORTURE_ARGS)
	$(BIN)/python -m torture run --store postgresql $(TORTURE_ARGS)

docs: $(READY) ## Write the generated reference pages
	$(BIN)/python tools/write_settings_reference.py
	$(BIN)/python tools/write_cli_reference.py

build: $(READY) ## Build both distributions into dist/
	$(BIN)/python -m build --no-isolation --outdir dist packages/umbel
	$(BIN)/python -m build --no-isolation --outdir dist packages/umbel-celery

clean: ## Remove what running and checking left behind
	rm -rf dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf packages/*/build packages/*/src/*.egg-info
	find . -path './.venv*' -prune -o -name __pycache__ -type d -print | xargs rm -rf

distclean: clean ## Remove the virtual environments too
	rm -rf $(VENV) $(CELERY_VENV)

# --- the environment ------------------------------------------------------------------------------

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Umbel needs Python 3.11 or later; say which one: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The demo needs nothing but Umbel itself, so that it starts soon on a fresh machine.
$(READY_DEMO): constraints.txt packages/umbel/pyproject.toml | $(BIN)/python
	@echo "Setting up $(VENV) (once) ..."
	$(PIP) install -c constraints.txt -e packages/umbel
	@touch $@

$(READY): constraints.txt requirements-dev.txt packages/umbel/pyproject.toml \
          packages/umbel-celery/pyproject.toml packages/umbel-celery/setup.py \
          packages/umbel-celery/umbel_celery.pth | $(BIN)/python
	@echo "Setting up $(VENV) for development (once) ..."
	$(PIP) install -c constraints.txt -r requirements-dev.txt
	$(PIP) install -c constraints.txt --no-build-isolation -e 'packages/umbel[all]' -e packages/umbel-celery
	@touch $@ $(READY_DEMO)

# The real Celery, for tests/interop. Without it they are skipped, and say so; in CI that is a failure.
$(READY_CELERY): tests/interop/requirements.txt | $(BIN)/python
	@echo "Setting up $(CELERY_VENV) with the real Celery for the interop tests (once) ..."
	@rm -rf $(CELERY_VENV)
	@$(BIN)/python -m venv $(CELERY_VENV) && \
	  $(CELERY_VENV)/bin/python -m pip --disable-pip-version-check --quiet install -r $< && \
	  touch $@ || { rm -rf $(CELERY_VENV); [ "$$CI" != true ]; } || \
	  { echo "$(CELERY_VENV) cannot be made, and CI=true says it must be" >&2; exit 1; }
