# Everything sets itself up: a virtual environment under .venv, pinned by constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
INPUTS := pyproject.toml constraints.txt

.PHONY: setup demo test types kernels nightly lint docs clean

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

# Shapes of a wide ResNet at an eighth of its params, on scikit-learn's digits; then the found widths, the network as
# published, and uniform and flat widths of equal params, each trained from scratch ten times. A second call goes on where the
# first one was, or shows what it found.
demo: setup
	mkdir -p demo
	test -f demo/wrn22.onnx || $(BIN)/chanc export zoo:wrn22-1 --channels 1 --size 8 -o demo/wrn22.onnx
	$(BIN)/chanc search demo/wrn22.onnx --algo shape --data digits --target-params 12.5% --trials 12 --epochs 10 --rungs 1 \
	  --holdout 0.3 --batch-size 64 --lr 0.05 --final-epochs 10 --final-lr 0.05 --final-seeds 10 \
	  --compare baseline,uniform-params,flat-params --out demo/run $$(test -f demo/run/config.json && echo --resume)
	@echo "open demo/run/report.html"

# Types and kernels take one core each, so they go side by side. Of the tests each worker takes a half of the files, and
# what both share (an export, a Ray) is made once; then they help each other.
test: setup
	$(BIN)/ruff check .
	$(MAKE) --jobs 2 --output-sync types kernels
	$(BIN)/python -m pytest -m 'not nightly' -n 2 --dist worksteal

types: setup
	$(BIN)/mypy
	$(BIN)/lint-imports

# What EVBMF answers must not hang on the last bits, so it is measured with several of OpenBLAS's kernels. OpenBLAS takes
# the one it is told without asking the CPU, which then dies of an illegal instruction: leave out what the CPU lacks.
kernels: setup
	for kernel in Haswell:avx2 SkylakeX:avx512vl Prescott:pni; do \
	  grep -qsw "$${kernel#*:}" /proc/cpuinfo || { echo "$${kernel%:*}: this CPU has no $${kernel#*:}"; continue; }; \
	  echo "$${kernel%:*}:"; \
	  OPENBLAS_CORETYPE=$${kernel%:*} $(BIN)/python -m pytest -k 'not torch and not cuda and not device' tests/metrics || exit 1; done

nightly: setup docs
	$(BIN)/python -m pytest -m nightly -n 2 --dist worksteal --timeout 7200

# The site, in build/site, of the repository's own pages and the docstrings. A warning is an error: a page that is in no table
# of contents, a link that leads nowhere, a docstring that can't be read.
docs: .venv/docs
	$(BIN)/python -m sphinx --conf-dir docs --doctree-dir build/doctrees --fail-on-warning --keep-going --quiet . build/site
	@echo "open build/site/index.html"

.venv/docs: .venv/ready
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	touch $@

lint: types
	$(BIN)/ruff check .

clean:
	rm -rf .venv demo build dist *.egg-info
