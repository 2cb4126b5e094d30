# Every command sets up what it needs: a Python >= 3.11 with venv and a package index are enough.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# Hundreds of requests a second of which none may fail: one of these at a time, beside what starts few processes.
LOADED := tests/component/router/failover
BESIDE := tests/unit tests/component/discovery tests/component/feedback
CLUSTER := PYTHONPATH=tests $(BIN)/python -m cluster

.DEFAULT_GOAL := help

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Compiled, because tests start many routers and simulated servers, and some machines keep no bytecode.
$(READY): requirements-dev.lock pyproject.toml
	@echo "setting up $(VENV) (once; a minute or two)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q operator
	@touch $@

setup: $(READY) ## Make the virtual environment with locked dependencies

demo: $(READY) ## Watch the router work: simulated models, real Envoy, real OpenAI client
	@$(BIN)/modelrouter demo

run: $(READY) ## Run the router on examples/quickstart with simulated models, until Ctrl-C
	@$(BIN)/modelrouter run -f examples/quickstart --simulate

test: $(READY) ## Run the unit and component tests
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile $(LOADED) $(BESIDE)
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile tests/component $(LOADED:%=--ignore=%) $(BESIDE:%=--ignore=%)

test-cluster: $(READY) ## Run the tests on a real Kubernetes (the first time it is compiled: 10 minutes)
	@$(CLUSTER) --or-skip packages
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --durations=15 tests/cluster/control_plane
	@$(CLUSTER) --or-skip --run $${TMPDIR:-/tmp}/modelrouter-test-cluster with --node \
	  $(BIN)/python -m pytest -q --durations=15 tests/cluster/node

test-vllm: $(READY) ## Test with the real vLLM on a CPU (root; installs 6 GB in the home's cache once)
	@$(CLUSTER) packages
	@PYTHONPATH=tests nice -n 15 $(BIN)/python -m vllm.environment
	@$(BIN)/python -m pytest -q --durations=5 tests/vllm/alone
	@nice -n 15 env $(CLUSTER) --run $${TMPDIR:-/tmp}/modelrouter-test-vllm with --node \
	  $(BIN)/python -m pytest -q --durations=5 tests/vllm/pods

chaos: $(READY) ## Break things at random on a real Kubernetes for 10 minutes (ARGS="--minutes 2 --seed 7")
	@$(CLUSTER) packages
	@$(CLUSTER) --run $${TMPDIR:-/tmp}/modelrouter-chaos with --node $(BIN)/python -m chaos $(ARGS)

cluster: $(READY) ## Run a Kubernetes with the chart, the example and simulated models, until Ctrl-C
	@$(CLUSTER) show

cluster-shell: ## Open a shell in the network of `make cluster`, with kubectl and helm
	@$(CLUSTER) exec $${SHELL:-sh}

lint: $(READY) ## Check format, lint, types and layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY) ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix --quiet .

golden: $(READY) ## Rewrite the expected files of the plan tests; the diff is the review
	@$(BIN)/python -m pytest -q tests/unit/plan --rewrite-golden

docs: $(READY) ## Regenerate the field reference in docs/
	@$(BIN)/python -m modelrouter reference > docs/reference.md

reference-check: $(READY) ## Check that docs/reference.md is what the models say
	@$(BIN)/python -m modelrouter reference | diff -u docs/reference.md - \
	  || { echo "docs/reference.md is out of date: run make docs"; exit 1; }

crds: $(READY) ## Write the CustomResourceDefinitions in crds/ from the models
	@$(BIN)/python -m modelrouter crds --directory crds
	@$(BIN)/python charts/generate.py

chart: $(READY) ## Write the chart's copies of crds/, its README and schema texts from their sources
	@$(BIN)/python charts/generate.py

crds-check: $(READY) ## Check that crds/ is what the models say
	@$(BIN)/python -m modelrouter crds --directory .crds-check && diff -ru crds .crds-check; \
	  status=$$?; rm -rf .crds-check; test $$status = 0 || { echo "crds/ is out of date: run make crds"; exit 1; }

bench: $(READY) ## Compare with plain Envoy, FastAPI proxies and LiteLLM (about 15 minutes)
	@PYTHONPATH=tests $(BIN)/python -m bench --output docs/benchmarks.md
	@PYTHONPATH=tests $(BIN)/python -m bench.mirroring --output docs/benchmarks.md

bench-prefix: $(READY) ## Conversations on servers with a prefix cache, by load balancing (about 3 minutes)
	@PYTHONPATH=tests $(BIN)/python -m bench.prefixes --output docs/benchmarks.md

bench-cluster: $(READY) ## From a change in the cluster to the traffic; cost of the operator (about 5 minutes)
	@PYTHONPATH=tests $(BIN)/python -m bench.propagation --output docs/benchmarks.md

lock: $(READY) ## Resolve the development dependencies anew
	@$(BIN)/uv pip compile pyproject.toml --group dev --all-extras --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --quiet --custom-compile-command "make lock" -o requirements-dev.lock
	@$(BIN)/uv pip compile pyproject.toml --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --quiet --custom-compile-command "make lock" -o requirements.lock

clean: ## Remove the virtual environment and caches
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.PHONY: help setup demo run test test-cluster test-vllm chaos cluster cluster-shell lint format golden docs reference-check crds chart crds-check bench bench-prefix bench-cluster lock clean
