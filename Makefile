# Two commands are all that a fresh machine needs: `make demo` and `make test`.
# Each makes .venv if there is none. Needs Python 3.11 or newer and a C++ compiler.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := examples/smollm2
INSTALLED := $(VENV)/.installed

.PHONY: demo test check bench install clean

## demo: search for the best merge of SmolLM2-135M's demo adapters (under 10 minutes)
demo: $(INSTALLED)
	$(BIN)/python $(DEMO)/prepare.py
	test -f $(DEMO)/subspace.safetensors || $(BIN)/weighin subspace \
	  --it $(DEMO)/it --pt $(DEMO)/pt --rank 64 -o $(DEMO)/subspace.safetensors
	test -f $(DEMO)/fisher.safetensors || $(BIN)/weighin fisher $(DEMO)/it \
	  --prompts $(DEMO)/data/held-out.jsonl --limit 64 --threads 1 -o $(DEMO)/fisher.safetensors
	$(BIN)/weighin search $(DEMO)/recipe.yaml --trials 4

## test: the whole test suite, real models included; two at a time, neighbours in one process
test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist worksteal

## check: style, types and the direction of the imports
check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

## bench: the engine's rates as ratios within one run, on the demo's Q6_K
bench: $(INSTALLED)
	$(BIN)/python $(DEMO)/prepare.py
	test -f $(DEMO)/it-Q6_K.gguf || \
	  $(BIN)/weighin baseline $(DEMO)/it -o $(DEMO)/it-Q6_K.gguf
	$(BIN)/python benchmarks/engine.py --model $(DEMO)/it-Q6_K.gguf

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "weighin needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 2; }
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import llama_cpp' 2>/dev/null || \
	  echo "Installing into $(VENV); llama-cpp-python compiles from source: about 9 minutes on two cores, once."
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --progress-bar on --constraint constraints.txt --editable '.[demo,dev]'
	@touch $@

clean:
	rm -rf .cache build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
