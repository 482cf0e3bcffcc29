# make demo: the whole pipeline on a simulated screen.  make test: style, types, imports, tests.
# make demo-rivals: the demo beside turns, spread, and a classifier trained for the same seconds.
# make demo-families: the demo with every network family, to compare their recall.
# make docs: the site, in docs/_build/html; a warning of Sphinx is an error.
# make torch-check: networks, trainer and a short demo under several versions of PyTorch.
# make release: source distribution, wheel, SBOM and checksums in dist/, checked; publishes nothing.
# make wheel-test: the wheel alone, in a new environment, runs the quickstart.
# make workflow-test: the demo's workflow by Snakemake, which has an environment of its own.
# make hashes: requirements with hashes (release/requirements) of the versions in constraints.txt.
# make gpu-kit: an archive with all that a GPU node without a package index lacks (docs/gpu.md).
PYTHON ?= python3
SEED ?= 0
BIN = .venv/bin
# One thread per test process: OpenMP threads of several processes on the same cores spin for each
# other, and the suite then takes longer than on one core. numba, which shares them with PyTorch,
# would set them to all cores (findings/numba_torch_threads.sh). Bytecode is kept in any case, because
# the commands under test would compile the package again at each start.
PYTEST = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= \
	$(BIN)/pytest -n auto --maxprocesses 8 --dist worksteal

.PHONY: install demo demo-rivals demo-families test test-all gpu-kit torch-check docs release wheel-test workflow-test hashes clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "phenomae needs Python 3.11 or newer: make PYTHON=python3.11")'
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[train,dev]'
	touch $@

demo: install
	$(BIN)/python demo.py demo --seed $(SEED)

demo-rivals: install
	$(BIN)/python demo.py demo --seed $(SEED) --rivals

demo-families: install
	$(BIN)/python demo.py demo --seed $(SEED) --families

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(PYTEST)

test-all: install
	$(PYTEST) -m 'slow or not slow'

gpu-kit: install
	$(BIN)/python benchmarks/gpu/kit.py gpu-kit.tar.xz

docs: install
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[train,docs]'
	$(BIN)/sphinx-build -W --keep-going -q -d docs/_build/doctrees docs docs/_build/html

torch-check:
	benchmarks/torch_check.sh

# Tools of releases have an environment of their own: their requirements are not ours.
TOOLS = .release/tools

$(TOOLS)/installed: release/tools.txt
	$(PYTHON) -m venv --clear $(TOOLS)
	$(TOOLS)/bin/pip install --quiet -r release/tools.txt
	touch $@

release: $(TOOLS)/installed
	release/build.sh

wheel-test: $(TOOLS)/installed
	rm -rf .release/dist
	$(TOOLS)/bin/python -m build --wheel --outdir .release/dist
	$(TOOLS)/bin/python release/wheel_test.py .release/dist/*.whl .release/wheel

FLOW = .release/snakemake

$(FLOW)/installed: workflows/requirements.txt
	$(PYTHON) -m venv --clear $(FLOW)
	$(FLOW)/bin/pip install --quiet -r workflows/requirements.txt
	touch $@

workflow-test: install $(FLOW)/installed
	PATH="$(CURDIR)/$(FLOW)/bin:$$PATH" $(PYTEST) -m 'slow or not slow' tests/test_workflows.py

hashes: $(TOOLS)/installed
	$(TOOLS)/bin/python release/hashes.py

clean:
	rm -rf .venv .release demo docs/_build docs/_generated
