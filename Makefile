# Everything runs in a virtual environment that the first target makes; it is updated when
# pyproject.toml changes. Another interpreter: make test PYTHON=python3.12 (in a fresh tree).

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= auto
PYTEST_ARGS ?=
QUICK ?=
MNIST ?=
BENCH_ARGS ?=

BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help venv demo bench test docs lint format clean distclean

help:
	@echo "make demo    train, prune and compare networks on real data"
	@echo "make bench   measure the solver (QUICK=1 for half a minute, MNIST=file.npz)"
	@echo "make test    run the tests (WORKERS=1 for one process, PYTEST_ARGS for more)"
	@echo "make docs    run the Python examples of README.md and docs/"
	@echo "make lint    check the code; make format repairs what can be repaired"
	@echo "make venv    only make or update $(VENV)"
	@echo "make clean   remove what the tools left; make distclean also $(VENV)"

venv: $(READY)

demo: $(READY)
	$(BIN)/python examples/demo.py

# On all cores, as users run it.
bench: $(READY)
	$(BIN)/python -m benchmarks.solver $(if $(QUICK),--quick) $(if $(MNIST),--mnist $(MNIST)) \
		$(BENCH_ARGS)

# One BLAS thread for each worker: more would fight for the same cores.
test docs: export OMP_NUM_THREADS = 1
test docs: export OPENBLAS_NUM_THREADS = 1
test docs: export MKL_NUM_THREADS = 1

PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations 10 $(PYTEST_ARGS)

test: $(READY)
	$(PYTEST) --ignore tests/test_docs.py

docs: $(READY)
	$(PYTEST) tests/test_docs.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build dist output .hypothesis .pytest_cache .ruff_cache *.egg-info
	find . -path ./$(VENV) -prune -o -type d -name __pycache__ -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make virtual environments:" \
		       "install its venv module (Debian, Ubuntu: python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@
