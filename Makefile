# Everything here runs from a fresh clone; `make help` says what there is.
# Cargo builds into $CARGO_TARGET_DIR when it is set, else into target/. One profile, `release`, for everything:
# a debug graph beside it would double a build that is long already.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup build demo demo-stop test airflow-matrix wheel check gen fmt bench fuzz chaos clean

PYTHON := .venv/bin/python

help: ## Say what there is
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Make .venv with everything Python needs, pinned by requirements/dev.txt (quick when it is there)
	@scripts/setup.sh

build: setup ## Build the worker, `moulin` (minutes the first time)
	@$(PYTHON) scripts/build.py

demo: setup ## Land the flights of 2013 through a real Airflow; KEEP=1 leaves everything running
	@KEEP=$(KEEP) $(PYTHON) scripts/demo.py

demo-stop: ## Stop what `make demo KEEP=1` left running
	@$(PYTHON) scripts/demo.py --stop

test: setup ## Run all tests: Rust, Python, end to end with a real Airflow
	@$(PYTHON) scripts/run_tests.py

check: setup ## Run what needs no test: formats, lints, types, licences, generated code, links
	@scripts/check.sh

airflow-matrix: setup ## Test the provider in Airflow 3.1, 3.2 and 3.3, its wheels installed; AIRFLOW=3.1 PY=3.12 SUITE=provider|airflow
	@$(PYTHON) scripts/airflow_matrix.py $(addprefix --airflow ,$(AIRFLOW)) $(addprefix --python ,$(PY)) $(addprefix --suite ,$(SUITE))

wheel: setup ## See whether the wheels install with pip alone and Airflow finds the provider
	@$(PYTHON) scripts/airflow_matrix.py --pip

gen: setup ## Write the generated code of proto/ (Rust, Python) and the reference of all options
	@scripts/gen.sh

fmt: setup ## Format Rust and Python
	@cargo fmt --all
	@.venv/bin/ruff format --quiet .
	@.venv/bin/ruff check --quiet --fix-only --select I .

bench: setup ## Compare with Polars, DuckDB, pandas and dlt; SCALE=1 FORMATS=csv,ndjson,parquet REPEAT=3 TOOLS=...
	@$(PYTHON) -m benches --scale "$(or $(SCALE),1)" --formats "$(or $(FORMATS),csv,ndjson,parquet)" --repeat "$(or $(REPEAT),3)" --tools "$(or $(TOOLS),moulin,polars,duckdb,pandas)"

fuzz: ## Feed the readers with inputs made by libFuzzer; TARGET=csv|ndjson|infer FUZZ_SECONDS=600 (a nightly toolchain, and minutes to build)
	@scripts/fuzz.sh "$(or $(TARGET),csv)" "$(or $(FUZZ_SECONDS),600)"

chaos: setup ## Let jobs run into faults that a seed chooses, and check every row; ROUNDS=500 SEED=... WORLDS=sqlite,...
	@PYTHONPATH=scripts:tests/worker:tests/faults $(PYTHON) -m rounds --rounds "$(or $(ROUNDS),500)" $(if $(SEED),--seed "$(SEED)") $(if $(WORLDS),--worlds "$(WORLDS)")

clean: ## Remove what builds, the demo and the tests left in the clone (not a build folder outside it)
	rm -rf target .venv .venv-gen .demo .cache .moulin .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
