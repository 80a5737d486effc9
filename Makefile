# Everything a newcomer needs: `make demo` and `make test`, each with an environment of its own.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
TEST := .venv-test/bin

.PHONY: demo test test-soak conformance lint format clean

demo: .venv/.installed
	$(BIN)/carps-like run study=demo workers=2
	$(BIN)/carps-like report results/demo

test: .venv-test/.installed
	$(TEST)/python -m pytest -n 2 --dist loadgroup

# 200 kills where `make test` has 25, 2,000 simulated data sets where it has 300
test-soak: .venv-test/.installed
	$(TEST)/python -m pytest -m soak

# every check of every variant, with statistics over 30 seeds, then the table: hours
conformance: .venv-test/.installed
	$(TEST)/carps-like env build all
	$(TEST)/python scripts/conformance.py
	$(TEST)/python scripts/optimizer_table.py

lint: .venv-test/.installed
	$(TEST)/ruff check .
	$(TEST)/ruff format --check .
	$(TEST)/mypy -p carps_like

format: .venv-test/.installed
	$(TEST)/ruff check --fix .
	$(TEST)/ruff format .

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q uv
	$(BIN)/uv pip install -q --compile-bytecode -p $(BIN)/python -c constraints.txt -e '.[demo]'
	touch $@

# torch comes first and by pip, so that a CPU build which pip knows of is taken
.venv-test/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-test
	$(TEST)/pip install -q uv torch==2.13.0
	$(TEST)/uv pip install -q --compile-bytecode -p $(TEST)/python -c constraints.txt -e '.[all,dev]'
	touch $@

clean:
	rm -rf .venv .venv-test build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
