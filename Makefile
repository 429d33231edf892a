# `make` alone says what there is. Needs python3 (3.10 or newer) with pip, make and git; nothing else.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
DEV_STAMP := .venv/.installed-dev
TORCH := torch==2.13.0
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
# Tiny networks are many times slower on many threads, and no test may need the network.
TEST := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -q

.DEFAULT_GOAL := help
.PHONY: help venv demo test slow lint bench clean

help:  ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

venv: $(DEV_STAMP)  ## Make .venv with everything, in the tested versions

$(STAMP): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 10) and "Python 3.10 or newer is needed, this is %d.%d; try: make PYTHON=python3.12" % v[:2])'
	@test -x $(BIN)/python || { echo "making .venv"; $(PYTHON) -m venv .venv; }
	@echo "installing the tested versions into .venv (a few minutes the first time)"
	@$(PIP) $(TORCH)
	@$(PIP) -c constraints.txt -e .
	@touch $@

$(DEV_STAMP): $(STAMP)
	@echo "installing what the tests need"
	@$(PIP) -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)  ## Teach the embedded model a subject and a style, with numbers before and after
	@$(BIN)/aquatint demo

test: venv  ## All tests but the slow ones
	@$(TEST)

slow: venv  ## All tests
	@$(TEST) -m 'slow or not slow'

lint: venv  ## Style, types, layers, and the rules of the house
	@failed=0; \
	$(BIN)/ruff check . || failed=1; \
	$(BIN)/mypy || failed=1; \
	$(BIN)/lint-imports --no-logo || failed=1; \
	$(TEST) tests/house || failed=1; \
	exit $$failed

bench: $(STAMP)  ## Rate, memory, start-up and --help times of this machine, into benchmarks/results/
	@$(BIN)/python benchmarks/help.py
	@$(BIN)/python benchmarks/rate.py

clean:  ## Delete what tools left behind; .venv, runs/ and demo/ stay
	@rm -rf build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find src tests pocket benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
