# Two commands: `make demo` and `make test`. Both make the environment first, in .venv.
PYTHON ?= python3
VENV ?= .venv
OUT ?= demo
# Further arguments for pip, for instance the index of PyTorch's CPU builds.
PIP_EXTRA_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt $(PIP_EXTRA_ARGS)

.PHONY: demo test test-slow lint clean

demo: $(VENV)/.app
	$(BIN)/apheleia demo --out "$(OUT)"

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m slow

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Apheleia needs Python 3.11 or newer; $(PYTHON) is older. Run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.app: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing Apheleia and what its command line needs into $(VENV) ..."
	$(PIP) -e ".[app]"
	@touch $@

$(VENV)/.dev: $(VENV)/.app
	@echo "Installing the test tools ..."
	$(PIP) -e ".[app,dev]"
	@touch $@

clean:
	rm -rf $(VENV) demo build dist src/*.egg-info
