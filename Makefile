# Every command of this project; CI runs the same ones.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help quickstart tables test torture bench wheels bench-gpu check format clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

quickstart: .venv/train  ## the study in small on this machine: train, score, main table (under 5 minutes)
	$(BIN)/python launch/grid.py --grid quickstart.yaml --executor local
	$(BIN)/python aggregate/tables.py --results runs --out tables

tables: .venv/train  ## every table and figure of the results in RESULTS (runs), into OUT (tables)
	$(BIN)/python aggregate/tables.py --results $(or $(RESULTS),runs) --out $(or $(OUT),tables)

test: .venv/dev  ## every test, with a real Slurm where this machine may start one
	@mkdir -p .reports
	@$(BIN)/python -m compileall -q aggregate jobs launch stilts tests  # read by some hundred commands
	$(BIN)/python -m pytest --junit-xml=.reports/tests.xml $(PYTEST)

torture: .venv/dev  ## every kill that `test` takes a choice of, five minutes of chaos on the real Slurm; by hand
	STILTS_TORTURE=1 $(BIN)/python -m pytest --quiet tests/jobs/test_interruption.py tests/slurm/test_chaos.py

bench: .venv/dev  ## ratios in one run, against what people use, and a table of all; half an hour, on a quiet machine
	@$(BIN)/python tests/bench/goals.py --begin
	$(BIN)/python -m pip install -qq --no-deps --target .venv/seqeval seqeval==0.0.12
	$(BIN)/python tests/bench/tagging.py .venv/seqeval
	$(BIN)/python tests/bench/reading.py
	$(BIN)/python tests/bench/tables.py
	$(BIN)/python tests/bench/bootstrap.py
	$(BIN)/python -m pip install -qq --no-deps --target .venv/launchers dora-search==0.1.13 exca==0.6.0 \
	  treetable==0.2.6 retrying==1.4.2 omegaconf==2.3.0 antlr4-python3-runtime==4.9.3
	$(BIN)/python tests/bench/launching.py .venv/launchers
	$(BIN)/python tests/bench/evaluation.py
	$(BIN)/python -m pip install -qq --no-deps --target .venv/faiss faiss-cpu==1.15.1
	$(BIN)/python tests/bench/mining.py .venv/faiss
	$(BIN)/python -m pip install -qq --no-deps --target .venv/trainer accelerate==1.15.0
	$(BIN)/python tests/bench/startup.py .venv/trainer
	$(BIN)/python tests/bench/training.py
	$(BIN)/python tests/bench/ranks.py
	$(BIN)/python tests/bench/planner.py
	$(BIN)/python tests/bench/quickstart.py --against ac3e081
	$(BIN)/python tests/bench/goals.py

# What a machine with Python 3.12, torch and transformers lacks for the GPU benchmark. DeepSpeed's wheel is pure Python:
# it compiles nothing, neither now nor there.
LIGHT := hjson pydantic pydantic_core annotated-types typing-inspection orjson
MANYLINUX := $(foreach glibc,2_28 2_17,--platform manylinux_$(glibc)_x86_64) --platform manylinux2014_x86_64

wheels: .venv/dev  ## .wheels/: what the GPU benchmark needs beside torch and transformers, to be carried to a machine
	DS_BUILD_OPS=0 $(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --no-binary deepspeed \
	  --constraint constraints.txt --wheel-dir .wheels deepspeed
	$(BIN)/python -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
	  $(MANYLINUX) --constraint constraints.txt --dest .wheels $(LIGHT)

bench-gpu:  ## training on one GPU, under 8 minutes, with PYTHON (python3) of a bare machine and .wheels; into OUT
	$(PYTHON) -m pip install --quiet --no-index --no-deps --upgrade --target .wheels/site .wheels/*.whl
	PYTHONPATH=.wheels/site $(PYTHON) tests/bench/gpu.py $(or $(OUT),.reports/gpu) --limit-s 450

check: .venv/dev  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/dev  ## put the code into its one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the virtual environment and caches (results stay)
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .reports

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "needs Python 3.11 or newer; give one: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "needs Python's venv module; on Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

.venv/train: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train]'
	@touch $@

.venv/dev: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,dev]'
	@touch $@ .venv/train
