# make demo            the whole idea on built-in images; DATA=folder for your own, SEED=n, OUT=folder
#                      DATASET_OPTIONS="--labels a,b" and the like for the dataset command
# make test            every test, on TEST_PROCESSES=n processes
# make test-slow       trainings killed at many random points; KILL_POINTS=n of each application, KILL_SEED=text
# make lint            style and types
# make bench           speed of three GANs' training step beside PyTorch, of two part by part, of the saliency step, and of the dataset builder
# make lock            renew requirements.lock from pyproject.toml
PYTHON ?= python3
VENV ?= .venv
OUT ?= runs/demo
SEED ?= 1
DATA ?=
DATASET_OPTIONS ?=
BENCH_VENV ?= .venv-bench
KILL_POINTS ?= 10
TEST_PROCESSES ?= 2

PYTHON_OF_VENV := $(VENV)/bin/python
READY := $(VENV)/.medsynth-installed

.PHONY: demo test test-slow lint format bench lock clean

demo: $(READY)
	$(PYTHON_OF_VENV) benchmark/demo.py '$(OUT)' --seed $(SEED) $(if $(DATA),--data '$(DATA)') $(if $(DATASET_OPTIONS),--dataset-options='$(DATASET_OPTIONS)')

test: $(READY)
	OMP_NUM_THREADS=1 $(PYTHON_OF_VENV) -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test-slow: $(READY)
	KILL_POINTS=$(KILL_POINTS) $(PYTHON_OF_VENV) -m pytest -s tests/integration/test_killed_training.py

lint: $(READY)
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

format: $(READY)
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/ruff format

bench: $(READY)
	test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet -r speed/requirements.txt
	$(PYTHON_OF_VENV) speed/gan_step.py --peer $(BENCH_VENV)/bin/python
	$(PYTHON_OF_VENV) speed/gan_step.py --split
	$(PYTHON_OF_VENV) speed/dcgan_step.py --peer $(BENCH_VENV)/bin/python
	$(PYTHON_OF_VENV) speed/saliency_step.py
	$(PYTHON_OF_VENV) speed/build_dataset.py

# Exact versions, so that a clone of next year installs what was tested.
$(READY): requirements.lock pyproject.toml
	test -x $(PYTHON_OF_VENV) || $(PYTHON) -m venv $(VENV)
	$(PYTHON_OF_VENV) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(PYTHON_OF_VENV) -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet '.[cpu,dicom,video,cluster,dev]'
	.venv-lock/bin/python -m pip freeze --exclude medsynth > requirements.lock
	rm -rf .venv-lock build

clean:
	rm -rf $(VENV) $(BENCH_VENV) build *.egg-info
