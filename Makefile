# Two commands matter: make demo and make test. The rest is for developers.
PYTHON ?= python3
BIN = .venv/bin
READY = .venv/.installed

.PHONY: demo test lint type docs bench clean

demo: $(READY)
	$(BIN)/isthmus demo

test: $(READY)
	$(BIN)/python -m pytest -n auto --maxprocesses 8

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(READY)
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python docs/generate.py

bench: $(READY)
	@test -n "$(STUDY)" || { echo "make bench STUDY=digits (a folder of benchmarks/ with a study.toml)"; exit 2; }
	$(BIN)/isthmus compare benchmarks/$(STUDY)/study.toml --out runs/$(STUDY)

# Made anew when what it depends on changed, and only then.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Isthmus needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 4; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing (once, about 6 GB with CUDA libraries; some minutes) ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

clean:
	rm -rf .venv runs .pytest_cache .mypy_cache .ruff_cache
