# Everything sets itself up: a virtual environment under .venv, pinned by constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
INPUTS := pyproject.toml constraints.txt

.PHONY: setup demo test nightly lint clean

setup: .venv/ready

# torch goes first and alone: a pinned CPU build where one can be found, so that no later requirement pulls another.
# With an NVIDIA driver that answers, onnxruntime-gpu takes the place of onnxruntime: the two share one folder.
.venv/ready: $(INPUTS)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	if nvidia-smi >/dev/null 2>&1; then \
	  $(BIN)/pip uninstall --quiet --yes onnxruntime && \
	  $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[gpu]'; fi
	touch $@

demo: setup
	$(BIN)/python examples/demo.py --out demo

test: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -m 'not nightly' -n 2

nightly: setup
	$(BIN)/python -m pytest -m nightly -n 2 --timeout 7200

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf .venv demo build dist *.egg-info
