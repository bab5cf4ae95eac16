# `make` alone prints the list. Every target makes .venv first where it is missing or older than pyproject.toml;
# `make gpu ENV=/opt/conda` uses an environment that is there as it is, and installs nothing.

SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help demo test check fix bench slow gpu clean

PYTHON ?=
JOBS ?= 2
ENV ?=
BIN := $(or $(ENV),.venv)/bin
INSTALLED := $(if $(ENV),,.venv/installed)
PYTEST := $(BIN)/python -m pytest
# One thread per process: two test processes with two threads each wait for one another far longer than they compute.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

ifdef ENV
export PYTHONPATH := $(CURDIR):$(PYTHONPATH)
endif

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## *(.*)/  make \1\t\2/' | expand -t 16

demo: $(INSTALLED)  ## synthetic people, all four answers, no data and no weights needed
	@$(BIN)/python tasks/joint/demo.py

test: $(INSTALLED)  ## the tests, a few minutes on two cores (JOBS=8 for more)
	@$(ONE_THREAD) $(PYTEST) -n $(JOBS)

check: $(INSTALLED)  ## format, lint, types, the direction of imports, then the tests
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/pyright
	@$(BIN)/lint-imports
	@$(ONE_THREAD) $(PYTEST) -n $(JOBS)

fix: $(INSTALLED)  ## put the format right, and what the linter can mend by itself
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

bench: $(INSTALLED)  ## how fast and how large: prints tables
	@$(PYTEST) tests/bench -m 'slow and not gpu' -s

slow: $(INSTALLED)  ## tests that take minutes each
	@$(ONE_THREAD) $(PYTEST) -m 'slow and not gpu' --ignore tests/bench -n $(JOBS)

gpu: $(INSTALLED)  ## tests that need a CUDA device, then a table of speeds: training, answers
	@$(PYTEST) -m gpu --ignore tests/bench; failed=$$?; $(PYTEST) tests/bench -m gpu -s && exit $$failed

clean:  ## remove caches and .venv; runs and data stay
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/installed: pyproject.toml .ci/install.sh
	@PYTHON='$(PYTHON)' .ci/install.sh
