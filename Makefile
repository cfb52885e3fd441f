# make run: everything from an empty machine to the table. make results: every experiment. make test: the tests.
# All of them set up .venv where it is not there.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: env run results test coverage lint

env: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Evident needs Python 3.11 or later; set PYTHON=..."'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

run: env
	$(BIN)/python run.py hydra/launcher=processes

results: env
	$(BIN)/python run.py experiment=all hydra/launcher=processes

test: env
	$(BIN)/python -m pytest -n 2 --dist worksteal

coverage: env
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov=evident --cov-report=term:skip-covered

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
