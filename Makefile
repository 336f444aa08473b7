# filewatchd's commands for people who work on it or try it. `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCKS := requirements/build.lock requirements/run.lock

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help run test deps deb dist bench soak lock clean
.DEFAULT_GOAL := help

help: ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

run: $(VENV)/.run ## watch ./sandbox in the foreground; Ctrl-C drains and ends
	@mkdir -p sandbox
	@exec $(BIN)/python tools/foreground.py $(BIN)/filewatchd run --config config/quickstart.yaml

test: deps $(VENV)/.test ## everything CI checks: lint, types, layers, tests
	@$(BIN)/python tools/stages.py

deps: ## Debian packages the tests use (as root installs them, else names them)
	@tools/deps requirements/debian.txt

deb: deps $(VENV)/.test ## Debian packages into dist/, for all releases or RELEASE=bookworm; as root
	@$(BIN)/python -m tools.deb $(RELEASE)

dist: $(VENV)/.test ## wheel and sdist into dist/
	@$(BIN)/python -m tools.dist

bench: deps $(VENV)/.test ## measure against the peers, into bench/RESULTS.md
	@bench/run

soak: $(VENV)/.test ## the core's and the control API's properties, then SOAK_SEEDS (1000) random trials of the daemon on each backend: for hours
	@HYPOTHESIS_PROFILE=soak $(BIN)/pytest -q -n auto -m hypothesis tests/unit
	@HYPOTHESIS_PROFILE=soak $(BIN)/pytest -q tests/e2e/test_openapi.py
	@FILEWATCHD_SOAK=1 $(BIN)/pytest -q tests/e2e -k 'leak_nothing or same_bytes or large_hole or death_of_a_publish or replayed or followers or renamed_at_once'
	@FILEWATCHD_SOAK=1 $(BIN)/pytest -q tests/e2e/test_crew_deaths.py tests/faults/test_unmounts.py
	@FILEWATCHD_SOAK=1 $(BIN)/pytest -q tests/faults/test_reload_calls.py tests/unit/actions/reload tests/e2e/systemd/test_howto.py
	@$(BIN)/python -m tests.oracle
	@$(BIN)/python -m tests.oracle --rounds 20
	@$(BIN)/python -m tests.oracle --deaths
	@$(BIN)/python -m tests.rotation
	@$(BIN)/python -m tests.rotation --calls --count 100000
	@$(BIN)/python -m tests.integrity
	@$(BIN)/python -m tests.reloading --count 200
	@$(BIN)/python -m tests.integrity --tree '' --files 5000 --edits 5000

lock: ## choose versions anew (pip-tools) and pin them with hashes
	@tools/lock

clean: ## remove everything that make made, but ./sandbox and ./var
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.run: $(LOCKS) pyproject.toml
	@PYTHON=$(PYTHON) tools/venv $(VENV) run

$(VENV)/.test: $(LOCKS) requirements/test.lock pyproject.toml
	@PYTHON=$(PYTHON) tools/venv $(VENV) test
