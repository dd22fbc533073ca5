# make train, make test: all that is needed on a machine with Python 3.11 and make.
PYTHON ?= python3
BIN := .venv/bin
# Two files of tests at a time: most wait for processes, which two cores have room for. Unbuffered: progress also shows in a pipe.
PYTEST := PYTHONUNBUFFERED=1 $(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: train smoke check test test-all gpu-test slurm-test lint chaos fuzz demo-report venv format
.DEFAULT_GOAL := train

train: .venv/runtime
	OMP_NUM_THREADS=1 $(BIN)/torchrun --standalone --nproc_per_node=2 train_ddp.py

smoke: venv
	$(BIN)/pytest -q tests/test_smoke.py

check: lint
	$(PYTEST) -m "not slow and not slurm and not gpu"

test: venv
	@echo "the invariants, on real processes: about five minutes on two cores"
	$(PYTEST) -m "not extended and not slurm and not gpu"

test-all: venv
	@echo "all tests but those for SLURM and GPUs: about twenty minutes on two cores"
	$(PYTEST) -m "not slurm and not gpu"

gpu-test: venv
	$(BIN)/pytest -q -m gpu tests/test_gpu.py

slurm-test: venv
	bash tests/slurm/install.sh
	$(BIN)/pytest -q -m slurm tests/slurm

lint: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

chaos: venv
	$(BIN)/python -m tests.chaos

fuzz: venv
	LOCKSTEP_FUZZ=full $(BIN)/pytest -q -n 2 --dist worksteal tests/test_fuzz.py

demo-report: .venv/runtime
	$(BIN)/python train_ddp.py run.name=demo train.steps=400 evaluation.every_steps=50 logging.wandb=disabled
	@echo "open $(CURDIR)/runs/demo/report.html"
	@test -z "$$DISPLAY$$WAYLAND_DISPLAY" || $(BIN)/python -m webbrowser "file://$(CURDIR)/runs/demo/report.html"

format: venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

venv: .venv/installed

# What training needs. torch comes first: its build for CPUs is kept if it is there already (docs/install.md).
.venv/runtime: pyproject.toml constraints.txt
	@echo "installing torch and the other pinned packages into .venv: some minutes; with CUDA's libraries 5 GB (docs/install.md: how to get the CPU build)"
	$(PYTHON) -m venv .venv || { echo "Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install --constraint constraints.txt --editable .
	touch $@

# What the tests need too.
.venv/installed: .venv/runtime
	@echo "installing what the tests need: linters, type checkers, the packages that lockstep is compared with"
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
