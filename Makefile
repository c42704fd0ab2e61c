# make quickstart   install, train twice on the bundled sample, evaluate, compare
# make test         install with the development extras, run every check
# make check        the checks alone, in an environment that is there
# make fuzz         5,000 new hostile files a test for every reader, six minutes; `make test` tries 300 that are always the same
# make bench        the benchmarks, some eight minutes; BENCH="--only clicks" and the like for experiments/speed/bench.py
# make bench-full   the same on a file of LVIS's size, half an hour and 9 GB of memory

PYTHON ?= python3
BIN := .venv/bin
MFPGAN := $(BIN)/mfpgan
QUICK := --data sample --config experiments/quickstart.yaml

# Spinning OpenMP threads make every process several times slower when two share the cores.
export OMP_WAIT_POLICY ?= passive

.PHONY: quickstart test check fuzz bench bench-full clean

quickstart: .venv/installed
	@echo "1/4 training the plain baseline on the bundled sample"
	@off=$$($(MFPGAN) train $(QUICK) --adv off --name quickstart-off) && \
	echo "2/4 training the same with the adversary" && \
	adv=$$($(MFPGAN) train $(QUICK) --adv hinge --name quickstart-hinge) && \
	echo "3/4 evaluating both on the sample's val photos" && \
	$(MFPGAN) eval --run-id $$off --data sample && \
	$(MFPGAN) eval --run-id $$adv --data sample && \
	echo "4/4 side by side (a sample of 16 photos proves nothing: it shows that everything works)" && \
	$(MFPGAN) runs $$off $$adv && \
	echo "Pictures:  runs/$$adv/figures" && \
	echo "In MLflow: $(MFPGAN) ui    and open the address that it prints"

test: .venv/installed-dev
	$(MAKE) check

check:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile

fuzz: .venv/installed-dev
	MFPGAN_FUZZ=5000 $(BIN)/pytest -n auto --maxprocesses 4 tests/fuzz

bench: .venv/installed
	$(BIN)/python experiments/speed/bench.py $(BENCH)

bench-full: .venv/installed
	$(BIN)/python experiments/speed/bench.py --full $(BENCH)

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "mfpgan needs Python 3.11 or newer, got $$($(PYTHON) -V 2>&1); try make PYTHON=python3.12 quickstart" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/installed: .venv/python pyproject.toml
	@echo "Installing into .venv: torch is several GB, this takes some minutes the first time."
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/installed-dev: .venv/python pyproject.toml
	@echo "Installing into .venv: torch is several GB, this takes some minutes the first time."
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ .venv/installed

clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache
