# `make chat` is all a newcomer needs: it makes the virtual environment, installs, and opens the chat.
# TORCH_INDEX: another package index to take torch from, such as one of builds without CUDA.
# CORPUS: the directory of training text, for `make default-model`.

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
CORPUS ?= corpus
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
FLAGS ?=

.PHONY: help chat setup setup-dev test slow soak check bench goldens default-model clean

help:
	@echo "make chat | test | slow | soak | check | bench | default-model CORPUS=DIR | clean"

chat: $(VENV)/.installed
	@$(BIN)/tfm chat $(FLAGS)

setup: $(VENV)/.installed
setup-dev: $(VENV)/.installed-dev

# Everything that set-up says goes to stderr: the chat's answers are alone on stdout.
$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "tfm: setting up in $(VENV) (once; torch is large)" >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) >&2
	@$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0 >&2
	@$(PIP) --editable . >&2
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(PIP) --editable '.[dev]' >&2
	@touch $@

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(FLAGS)

slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow $(FLAGS)

soak: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m soak $(FLAGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/run.py $(FLAGS)

goldens: $(VENV)/.installed-dev
	$(BIN)/python scripts/make_goldens.py

default-model: $(VENV)/.installed-dev
	$(BIN)/tfm train recipe weights/recipes/default.toml --corpus $(CORPUS) --out runs/default

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
