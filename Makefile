# Everything a person runs, and the same in CI. PYTHON picks the interpreter (3.11 to 3.13).
PYTHON ?= python3
BIN := .venv/bin
# Two workers: the tests run calls in real time, and calls leave most of a core idle.
PYTEST_WORKERS ?= 2
# An environment with the lowest versions that pyproject.toml allows, and the tests that need no more.
FLOORS := .venv-floors
FLOOR_TESTS := tests/agent tests/processors tests/pipelines $(patsubst %,tests/server/test_%.py, \
	api_docs app logs metrics patient_socket rest_http security settings stream_tokens twilio_api \
	twilio_webhooks twiml)

.PHONY: install demo test test-floors check format lock clean

install: .venv/installed ## Set up .venv with the `voice-ai` command

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirement requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

demo: install ## One whole conversation over the real wire, without any credential
	$(BIN)/voice-ai demo

test: install ## All tests
	$(BIN)/pytest -n $(PYTEST_WORKERS)

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

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## Renew requirements.lock from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --all-extras \
		--python-version 3.11 --output-file requirements.lock pyproject.toml

clean:
	rm -rf .venv .venv-floors .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis out
