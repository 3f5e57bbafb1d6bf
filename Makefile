# Everything a person runs, and the same in CI. PYTHON picks the interpreter (3.11 to 3.13).
PYTHON ?= python3
BIN := .venv/bin
# Tests of calls in real time need a core that is mostly idle: no more workers than cores.
PYTEST_WORKERS ?= 2
PYTEST := $(BIN)/pytest -n $(PYTEST_WORKERS) --dist worksteal
# An environment with the lowest versions that pyproject.toml allows, and the tests that need no more.
FLOORS := .venv-floors
FLOOR_TESTS := tests/agent tests/processors tests/pipelines $(addprefix tests/server/, \
	observability twilio settings http/test_body_limit.py routes/test_twilio_webhooks.py \
	routes/test_api_docs.py test_app.py)

.PHONY: install demo test test-long test-floors check check-terraform format lock clean

install: .venv/installed ## Set up .venv with the `voice-ai` command

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --requirement requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

demo: install ## One whole conversation over the real wire, without any credential
	$(BIN)/voice-ai demo

test: install ## The tests, but for the long ones
	$(PYTEST)

test-long: install ## All tests and the long ones, each property with 500 new examples instead of the same 25
	$(PYTEST) -m "" --timeout 900 --hypothesis-profile long

test-floors: install ## The unit tests on the lowest versions that pyproject.toml allows
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(FLOORS)
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --all-extras --python $(FLOORS)/bin/python \
		--output-file $(FLOORS)/requirements.txt pyproject.toml
	$(BIN)/uv pip sync --quiet --python $(FLOORS)/bin/python $(FLOORS)/requirements.txt
	$(BIN)/uv pip install --quiet --python $(FLOORS)/bin/python --no-deps --editable .
	$(FLOORS)/bin/pytest -n $(PYTEST_WORKERS) $(FLOOR_TESTS)

check: install ## What must hold before a commit: lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

check-terraform: ## Format, validity and promises of terraform/, when the AWS provider is on this machine
	scripts/check_terraform.sh

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## Renew requirements.lock from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --all-extras \
		--python-version 3.11 --output-file requirements.lock pyproject.toml

clean:
	rm -rf .venv .venv-floors .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis out
