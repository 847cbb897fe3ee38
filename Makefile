# Dragoman. `make help` lists what there is.
#
# Everything is set up inside the checkout: .venv (Python), var (data, embedded PostgreSQL), .cache (test tools).

PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Where this is set, each process compiles all that it imports: a third of the time that the tests take.
unexport PYTHONDONTWRITEBYTECODE
export PIP_ROOT_USER_ACTION := ignore

.DEFAULT_GOAL := help
.PHONY: help run test shake check bench chaos texts shots lock clean

help:  ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

run: .venv/.installed  ## set up and serve the demo on http://127.0.0.1:8000
	@exec $(BIN)/dragoman serve --demo

test: .venv/.installed-dev  ## every test, the browser's too; ARGS="tests/db -k export" for some
	@scripts/find-chromium
	@$(BIN)/python -m tests.suite.run $(ARGS)

shake: .venv/.installed-dev  ## the tests some times in random order beside load; names those that do not always pass
	@scripts/find-chromium
	@$(BIN)/python -m tests.suite.shake $(ARGS)

check: .venv/.installed-dev  ## format, lint, types, import boundaries, repository rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@scripts/check-repository
	@scripts/check-names
	@$(BIN)/python scripts/check-texts
	@$(BIN)/python scripts/texts --check

bench: .venv/.installed-dev  ## every benchmark beside its limit; writes bench/results/latest.json
	@$(BIN)/python -m bench $(ARGS)

chaos: .venv/.installed-dev  ## kill everything for some minutes and see that nothing is lost; ARGS="--seed 7"
	@$(BIN)/python -m tests.chaos $(ARGS)

texts: .venv/.installed-dev  ## collect the texts for translators and bring the catalogues up to date
	@$(BIN)/python scripts/texts

shots: .venv/.installed-dev  ## take the pictures of docs/shots anew
	@scripts/find-chromium
	@$(BIN)/python -m tests.browser.shots

lock:  ## resolve the dependencies anew into requirements*.lock
	@scripts/lock

clean:  ## remove all that was set up, the demo's data included
	rm -rf .venv .cache var src/dragoman/web/static/dist

# The lock names every file by its hash; a changed lock or front-end installs again, anything else starts at once.
.venv/.venv: 
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed (apt install python3 python3-venv)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=..."; exit 1; }
	@echo "Making the virtual environment"
	@$(PYTHON) -m venv .venv
	@touch $@

FRONTEND := $(shell find frontend -type f -not -path '*/node_modules/*') hatch_build.py pyproject.toml

.venv/.installed: .venv/.venv requirements.lock requirements-build.lock $(FRONTEND)
	@echo "Installing the locked dependencies"
	@$(BIN)/pip install --quiet --require-hashes -r requirements-build.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@echo "Bundling the front-end"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

.venv/.installed-dev: .venv/.installed requirements-dev.lock
	@echo "Installing the test tools"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.lock
	@touch $@
