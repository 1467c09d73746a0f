# `make run` and `make test` do everything on a fresh machine with Python 3.11+ and make.
# Another Python:  make run PYTHON=/path/to/python3.12

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
# Only this target needs uv; users and CI install with plain pip.
UV_VERSION := 0.13.9
# Only `make mutation` needs mutmut.
MUTMUT_VERSION := 3.8.1
LOCK := $(BIN)/uv pip compile --no-config --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate \
	--fork-strategy fewest --custom-compile-command "make lock"

export PYTHON

CORPUS := flash-crash broker-outage weekend-gap disk-full

.PHONY: help setup run test quick format lint types layers coverage mutation bench corpus storms image sbom lock clean

help:  ## this list
	@echo "Trading System Orchestrator"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | \
		while IFS='|' read -r name text; do printf '%-14s %s\n' "$$name" "$$text"; done

$(STAMP): requirements.txt pyproject.toml
	@sh .ci/setup

setup: $(STAMP)  ## make .venv with pinned, hashed dependencies

run: $(STAMP)  ## run the service on port 8000 with the paper venue (Ctrl-C stops it)
	@exec $(BIN)/orchestrator run

# Many tests wait for processes of their own: more of them at a time than there are processors.
# Files come in the order of tests/conftest.py: those that take long first.
AT_ONCE := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: $(STAMP)  ## run all tests
	$(BIN)/python -m pytest tests/ $(AT_ONCE)

quick: lint types layers  ## what is quick: format, lint, types, layers, unit, property and contract tests
	$(BIN)/python -m pytest -q $(wildcard tests/unit tests/property tests/contract) $(AT_ONCE)

format: $(STAMP)  ## format the code
	$(BIN)/ruff format .

lint: $(STAMP)  ## check format and lint rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)  ## check types, strictly
	$(BIN)/basedpyright

layers: $(STAMP)  ## check who imports whom
	$(BIN)/lint-imports

coverage: $(STAMP)  ## fail where a branch of the kernel is taken by no unit test of its own
	$(BIN)/python -m pytest -q tests/unit/kernel \
		--cov=orchestrator/kernel --cov-branch --cov-report=term-missing --cov-fail-under=100

mutation: $(STAMP)  ## break the kernel in small ways and see which no test notices (half an hour)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check mutmut==$(MUTMUT_VERSION)
	$(BIN)/python -m tests.mutation

bench: $(STAMP)  ## print figures beside a floor measured in the same run
	$(BIN)/python -m benchmarks

corpus: $(STAMP)  ## record the runs anew that a new version must decide alike (docs/drills.md)
	for drill in $(CORPUS); do INSTRUMENTS=EUR_USD,GBP_USD ORCHESTRATOR_CONFIG= STATE_DIR=/nonexistent \
	  $(BIN)/python -m orchestrator drill $$drill --record tests/data/corpus/$$drill.jsonl.gz | tail -1; done

storms: $(STAMP)  ## record anew what the kernel decides in simulated storms (some minutes)
	$(BIN)/python -m tests.storms

image: $(STAMP)  ## do what deploy/Dockerfile says without a container engine, and run what comes of it
	$(BIN)/python -m tests.image

sbom: $(STAMP)  ## list what the service is made of, as CycloneDX (sbom.json)
	$(BIN)/python -m tests.sbom requirements-runtime.txt sbom.json

lock: $(STAMP)  ## write both requirements files anew from pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(LOCK) --output-file requirements-runtime.txt pyproject.toml
	$(LOCK) --output-file requirements.txt --extra dev pyproject.toml

clean:  ## remove .venv and caches; never the state folder
	rm -rf $(VENV) .venv.lock .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.* htmlcov dist mutants
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
