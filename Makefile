# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test slow fuzz lint clean

demo: $(VENV)/.demo
	$(BIN)/cuetune demo

# A process for each core, each with one thread: the suite is many small models, which threads only slow down.
test: $(VENV)/.dev lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses=8 --dist worksteal

slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow

# Damaged files of every kind, for as long as it is given: make fuzz MINUTES=5
MINUTES ?= 30
fuzz: $(VENV)/.dev
	cd tests && OMP_NUM_THREADS=1 ../$(BIN)/python -m fuzz.long --minutes $(MINUTES)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell src docs examples benchmarks README.md Makefile

# torch first and alone: the pinned version is the CPU build where one is offered, so nothing heavier is pulled in later.
$(VENV)/.demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[catalog]'
	touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build src/*.egg-info
