# Everything a contributor runs. Needs python3 (3.10 or newer) with pip; the rest is installed
# into .venv on first use. Another Python: make test PYTHON=python3.13

PYTHON ?= python3
BIN := .venv/bin
# pip from inside the venv, or, where the system has no ensurepip (Debian), the system's pip.
PIP = if $(BIN)/python -m pip --version >/dev/null 2>&1; then pip="$(BIN)/python -m pip"; \
	else pip="$(PYTHON) -m pip --python $(BIN)/python"; fi; \
	$$pip --disable-pip-version-check --quiet install
PURE := errors job backoff codec lifecycle config registry context laravel/*
empty :=
comma := ,
PURE_FILES := $(subst $(empty) $(empty),$(comma),$(PURE:%=*/liteq/%.py))

.PHONY: help demo test lint types bench crash docs format clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

demo: .venv/.demo ## see tasks of every kind run, retried, killed and recovered (half a minute)
	$(BIN)/python examples/demo.py

test: .venv/.dev ## run the tests, with coverage (one file: make test ARGS=tests/unit/test_job.py)
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=90
	$(BIN)/coverage report --fail-under=100 --include='$(PURE_FILES)'
endif

lint: .venv/.dev ## style, spelling and the import layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell

types: .venv/.dev ## mypy --strict
	$(BIN)/mypy

bench: .venv/.dev ## measure this machine, raw limits in the same run (with huey: ARGS=--peers)
	$(BIN)/python -m benchmarks $(ARGS)

crash: .venv/.dev ## the long crash test: a thousand kills, nothing lost
	$(BIN)/python -m benchmarks.crash $(ARGS)

docs: .venv/.dev ## write the reference pages from the code, then run every block of the docs
	$(BIN)/python docs/generate.py
	$(BIN)/python -m pytest tests/docs

format: .venv/.dev ## let ruff format and mend what it can
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean: ## remove what make has made
	rm -rf .venv .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("LiteQ needs Python 3.10 or newer, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv >/dev/null 2>&1 || $(PYTHON) -m venv --clear --without-pip .venv

# The stamps make the second run quick; a changed pyproject.toml installs again.
.venv/.demo: pyproject.toml | $(BIN)/python
	@echo "Installing LiteQ into .venv ..."
	@$(PIP) --editable .
	@touch $@

.venv/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing LiteQ and its development tools into .venv ..."
	@$(PIP) --editable '.[dev]' --constraint constraints.txt
	@touch $@ .venv/.demo
