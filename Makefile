# The commands of this repository. Everything runs in .venv, which the first of them makes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DOCS_INSTALLED := $(VENV)/.docs-installed
OUT ?= out/demo
INPUTS ?= 20000
SEED ?= 1

# Two single-threaded processes lose nothing; two threads in each of them fight for the cores.
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow check interface notebooks fuzz bench kill docs package clean

help:  ## This list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## Make .venv with all that the demo and the tests need.

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

$(DOCS_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	touch $@

demo: $(INSTALLED)  ## A simulated patient from video to surface; OUT=folder.
	$(BIN)/depthscope demo --out $(OUT)

test: $(INSTALLED)  ## The default tests, on two processes.
	$(TESTS) -n 2

test-slow: $(INSTALLED)  ## The tests that take longer.
	$(TESTS) -n 2 -m "slow and not gpu" || test $$? -eq 5  # 5: there are none

check: $(INSTALLED)  ## Format, lint, types and the order of the layers.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/interface.py --check || (echo "help pages are out of date: make interface"; exit 1)

interface: $(INSTALLED)  ## Write the help pages anew, after options have changed.
	$(BIN)/python tools/interface.py

notebooks: $(INSTALLED)  ## Run the notebooks and store them with their outputs.
	$(BIN)/python tools/notebooks.py

fuzz: $(INSTALLED)  ## Damaged files and command lines: INPUTS=20000 SEED=1; goes on where it was stopped.
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(BIN)/python -m fuzz --inputs $(INPUTS) --seed $(SEED) --out out/fuzz

bench: $(INSTALLED)  ## How long the parts take.
	$(BIN)/python benchmarks/startup.py --out out/benchmarks
	$(BIN)/python benchmarks/training_step.py --out out/benchmarks

kill: $(INSTALLED)  ## Ends commands at 1,000 random moments and does them again.
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/kill.py --out out/kill

docs: $(DOCS_INSTALLED)  ## The manual, as docs/_build/html.
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo docs/_build/html/index.html

package:  ## Build sdist and wheel; install each in a fresh environment: PYTHONS="python3.11 python3.12" TORCH=torch.
	PYTHONS="$(or $(PYTHONS),$(PYTHON))" TORCH="$(or $(TORCH),torch)" tools/try_package.sh

clean:  ## Remove what was built; .venv stays.
	rm -rf docs/_build dist build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
