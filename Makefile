# Everything a developer and CI run. Needs make and Python 3.11 or newer; all else goes into .venv.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# The system's own Python if it is new enough, for distributions build it with profile-guided optimization and version
# managers mostly do not, which costs Placet a quarter of its speed; else the first on PATH. First of all one that can make
# virtual environments. Or your own choice: make setup PYTHON=/path/to/python3.12
PYTHON ?= $(shell for needed in 'sys, ensurepip, venv' sys; do \
	for name in /usr/bin/python3 python3 python3.11 python3.12 python3.13 python3.14; do \
	$$name -c "import $$needed; sys.exit(sys.version_info < (3, 11))" 2>/dev/null && echo $$name && exit; done; done)
# What the tests that exist need.
SERVICES ?= postgres mariadb redis zookeeper
# Four workers on two cores: the tests wait for databases and processes more than they compute.
WORKERS ?= 4
ARGS ?=

bin := .venv/bin
ready := .venv/.placet-setup

# Hot modules are compiled at set-up where a C compiler and Python's headers are; make setup PLACET_NATIVE=0 leaves it.
export PLACET_NATIVE

.PHONY: help setup native demo services test check lint types imports docs lock clean

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*## */\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(ready)  ## make .venv with the locked dependencies and this project

$(ready): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "setup: no Python 3.11 or newer on PATH;" \
		"on Debian 12 or newer: apt-get install python3 python3-venv; or: make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "setup: $(PYTHON) cannot make virtual environments;" \
		"on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "setup: .venv from $(PYTHON) ($$($(PYTHON) --version))"
	@$(bin)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@echo "setup: installing requirements.lock, each file checked against its hash"
	@$(bin)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(bin)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@$(bin)/python hatch_build.py --optional
	@touch $(ready)
	@echo "setup: done; try: make demo"

native:  ## compile the hot modules again, from the sources as they are now (a minute)
	@$(MAKE) setup PLACET_NATIVE=0
	@$(bin)/python hatch_build.py

demo: setup  ## see TCC, saga and recovery run, on SQLite, in under a minute
	@$(bin)/placet demo

services:  ## start the servers that the tests need (compose/services)
	@$(if $(wildcard $(bin)/python),$(bin)/python,$(PYTHON)) compose/services up $(SERVICES)

test: setup services  ## run all tests; a part: make test ARGS='tests/unit -k saga'
	@$(bin)/pytest -n $(WORKERS) $(ARGS)

check: setup lint types imports docs  ## ruff, mypy, import rules, generated docs

lint:
	$(bin)/ruff check . compose/services
	$(bin)/ruff format --check . compose/services

types:
	$(bin)/mypy
	MYPYPATH=compose $(bin)/mypy -p placet_services
	$(bin)/mypy docs/patterns.py
	$(bin)/mypy hatch_build.py

imports:
	$(bin)/lint-imports

docs:
	$(bin)/python docs/patterns.py --check

lock:  ## bring requirements.lock up to pyproject.toml; newest versions: make lock ARGS=--upgrade
	@test -x $(bin)/uv || $(bin)/python -m pip install --quiet --disable-pip-version-check uv
	$(bin)/uv pip compile pyproject.toml --all-extras --group dev --universal --generate-hashes --no-header \
		--quiet --output-file requirements.lock $(ARGS)

clean:  ## remove caches and builds; .venv stays (rm -rf .venv)
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
