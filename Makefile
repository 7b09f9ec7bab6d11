# The front door. Each target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help setup browser deployed demo test race crash arrive walls bench check format clean

help:  ## say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "Installing Lockgate and what its tests need into $(VENV) (a minute or two) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@$(BIN)/python -m tests.provider
	@touch $@

setup: $(STAMP) browser deployed  ## make the virtual environment, and install a browser for the tests

browser:
	@tests/browser/install.sh

deployed: $(STAMP)
	@$(BIN)/python -m tests.deploy

demo: $(STAMP)  ## play a promotion end to end on real data (KEEP=1 leaves the server running)
	@$(BIN)/python -m demo $(if $(KEEP),--keep)

test: $(STAMP) browser deployed  ## run all tests, on SQLite and on a PostgreSQL that they start
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

race: $(STAMP)  ## 10,000 rounds of conflicting changes on three instances (ROUNDS=500 for fewer)
	@LOCKGATE_RACE_ROUNDS=$(or $(ROUNDS),10000) $(BIN)/python -m pytest -s tests/adversarial/test_race_of_many.py

crash: $(STAMP)  ## kill the server, and PostgreSQL, at each turn of three changes (POINTS=messages for each message, CHANGES=promotion for one)
	@LOCKGATE_CRASH_POINTS=$(or $(POINTS),turns) $(if $(CHANGES),LOCKGATE_CRASH_CHANGES="$(CHANGES)") $(BIN)/python -m pytest -s tests/adversarial/test_crash_proxy.py

arrive: $(STAMP)  ## deliver 10,000 events to receivers that fail in every way, and kill those who deliver 200 times (EVENTS=100 for each of 4 models, KILLS=10)
	@LOCKGATE_DELIVERY_SCALE=2000 LOCKGATE_DELIVERY_EVENTS=$(or $(EVENTS),2500) LOCKGATE_DELIVERY_KILLS=$(or $(KILLS),200) $(BIN)/python -m pytest -s tests/adversarial/test_deliveries.py

walls: $(STAMP)  ## take each wall out in turn and see that a test notices; writes docs/walls.md (ONLY=alias for some)
	@$(BIN)/python -m tests.walls $(if $(ONLY),--only '$(ONLY)',--write)

bench: $(STAMP)  ## measure MLflow's routes beside a stock server, promotions, deliveries, the proof of the audit log, and hashing (GIGABYTES=10 for the large one)
	@$(BIN)/python -m bench.reads
	@$(BIN)/python -m bench.promotions
	@$(BIN)/python -m bench.routes
	@$(BIN)/python -m bench.deliveries
	@$(BIN)/python -m bench.audit
	@$(BIN)/python -m bench.audit_online
	@$(BIN)/python -m bench.hashing $(if $(GIGABYTES),--gigabytes $(GIGABYTES))

check: $(STAMP)  ## lint, types and the direction of imports
	@! git grep -nE '^(<<<<<<<|>>>>>>>) ' || { echo 'A merge was not finished there.'; exit 1; }
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(STAMP)  ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:  ## remove the virtual environment and what runs left behind
	@rm -rf $(VENV) .demo build dist .mypy_cache .ruff_cache
