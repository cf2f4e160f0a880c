PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=
PEERS ?=
STEPS ?=
WORKERS ?= 2
# The benchmark's Milvus server, unless ROOST_MILVUS_URI names one.
WITH_MILVUS = $(if $(ROOST_MILVUS_URI),,$(if $(filter all milvus,$(PEERS)),$(BIN)/python .ci/with_milvus.py --optional))
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## from handwritten digits to a promoted model: ARGS="--uri http://127.0.0.1:19530"
	$(BIN)/roost demo $(ARGS)

test: $(STAMP) ## every test; ROOST_MILVUS_URI and ROOST_POSTGRES_URL add those that need a server
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

check: $(STAMP) ## formatting, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

format: $(STAMP) ## rewrite the sources and docs/cli.md as the checks want them
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python .ci/cli_docs.py

bench: $(STAMP) ## every measurement, hours: STEPS="queries mixed", PEERS="chroma milvus" or all, ARGS=--small
	$(WITH_MILVUS) $(BIN)/python -m bench --peers "$(PEERS)" $(if $(STEPS),--steps $(STEPS)) $(ARGS)

clean: ## remove the virtual environments and all caches
	rm -rf .venv .venv-milvus bench/.venvs .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt hatch_build.py $(wildcard src/roost/engine/index/*.c)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) .ci/make_venv.py $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	@touch $@
