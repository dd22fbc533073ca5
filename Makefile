# make train, make test: all that is needed on a machine with Python 3.11 and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: train test check venv format
.DEFAULT_GOAL := train

train: venv
	$(BIN)/torchrun --standalone --nproc_per_node=2 train_ddp.py

test: venv
	$(BIN)/pytest -q

check: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -q -m "not slow"

format: venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

venv: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@echo "installing the pinned packages into .venv; this takes a few minutes"
	$(PYTHON) -m venv .venv || { echo "Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
