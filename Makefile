# make demo: the whole pipeline on a simulated screen.  make test: style, types, walls, tests.
# make demo-families: the demo with every family of networks, for their recall side by side.
PYTHON ?= python3
SEED ?= 0
BIN = .venv/bin

.PHONY: install demo demo-families test test-all clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "phenomae needs Python 3.11 or newer: make PYTHON=python3.11")'
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[train,dev]'
	touch $@

demo: install
	$(BIN)/python demo.py demo --seed $(SEED)

demo-families: install
	$(BIN)/python demo.py demo --seed $(SEED) --families

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/pytest

test-all: install
	$(BIN)/pytest -m 'slow or not slow'

clean:
	rm -rf .venv demo
