# Two commands are all that a newcomer needs: `make run` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
RUN := .venv/run.stamp
DEV := .venv/dev.stamp

.PHONY: run test soak fuzz bench check lock clean

run: $(RUN) ## Start Headcount with its own PostgreSQL under ./data
	$(BIN)/headcount serve

test: check ## Formatting, types, and all tests
	$(BIN)/pytest -n 3 $(PYTEST)

soak: $(DEV) ## The tests of faults in their long form, half an hour or less
	$(BIN)/pytest -n 4 -rP --soak tests/acceptance/test_faults*.py tests/integration/test_spool_damage.py tests/acceptance/test_deploy_booted.py $(SOAK)

fuzz: $(DEV) ## Every parser, led by what is reached; FUZZ seconds each
	PYTHONPATH=tests $(BIN)/python -m fuzz.run $(or $(FUZZ),60)

bench: $(DEV) ## Figures, each beside its yardstick in the same run
	PYTHONPATH=tests $(BIN)/python -m bench $(BENCH)

check: $(DEV)
	$(BIN)/ruff format --check server tests
	$(BIN)/ruff check server tests
	$(BIN)/mypy

$(RUN): requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(DEV): requirements-dev.txt pyproject.toml $(RUN)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	touch $@

lock: ## Write both lock files anew from pyproject.toml (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --upgrade --group build pyproject.toml -o requirements.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --upgrade --constraint requirements.txt --group dev pyproject.toml -o requirements-dev.txt

clean: ## Remove the virtual environment, not the data
	rm -rf .venv
