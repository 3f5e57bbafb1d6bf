# Everything a person runs, and the same in CI. PYTHON picks the interpreter (3.11 to 3.13).
PYTHON ?= python3
BIN := .venv/bin
# Two more than a small machine has cores: many tests wait for real time to pass.
PYTEST_WORKERS ?= 4
# Compiled tests are kept, whatever the shell says: a worker takes eight seconds to compile them.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n $(PYTEST_WORKERS) --dist worksteal
# An environment with the lowest versions that pyproject.toml allows, and the tests that need no more.
FLOORS := .venv-floors
FLOOR_TESTS := tests/agent tests/processors tests/pipelines $(addprefix tests/server/, \
	observability twilio settings http/test_body_limit.py routes/test_twilio_webhooks.py \
	routes/test_api_docs.py test_app.py)

.PHONY: install help demo demo-replay demo-cluster demo-rolling demo-temporal soak test test-long test-floors check check-deploy check-terraform \
	stack histories format reference capacity lock clean

install: .venv/installed ## Set up .venv with the `voice-ai` command

help: ## What can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --requirement requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

demo: install ## One whole conversation over the real wire, without any credential
	$(BIN)/voice-ai demo

demo-replay: install ## A call becomes a scenario, is replayed 20 times, and broken in three ways
	$(BIN)/voice-ai scenarios demo

demo-cluster: install ## Three instances under calls: one is killed, one frozen, one drained; no call is lost
	$(BIN)/voice-ai demo-cluster

demo-rolling: install ## Three instances are drained and started anew, one after the other, under 30 calls
	$(BIN)/voice-ai demo-cluster --rolling

demo-temporal: install ## 20 calls over a real Temporal server, whose worker is killed in the middle
	$(BIN)/voice-ai demo-temporal

soak: install ## 500 calls over Temporal with random faults
	$(BIN)/voice-ai demo-temporal --calls 500 --faults

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

histories: install ## Record the histories of workflows anew, which tests replay
	$(BIN)/python -m tests.agent.runner.stories

check-terraform: ## Format, validity and promises of terraform/, when the AWS provider is on this machine
	scripts/check_terraform.sh

check-deploy: install ## Image, compose files, monitoring and docs, without an engine or a network
	$(BIN)/python scripts/check_deploy.py

stack: install ## The services of docker-compose.yml as processes, and one call through them
	$(BIN)/python scripts/stack.py

format: install ## Mend what ruff can mend, and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reference: install ## Write docs/reference and docs/api.md from docstrings, settings, commands and OpenAPI
	$(BIN)/python docs/make_reference.py
	$(BIN)/python docs/make_api.py

capacity: install ## Compute the table of docs/scaling.md
	$(BIN)/python docs/make_capacity.py

COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11
# The images have the versions that the tests have.
COMPILE_IMAGE := $(COMPILE) --constraint requirements.lock --override docker/left-out.txt

lock: ## Renew requirements.lock, and the image's locks, from pyproject.toml
	$(COMPILE) --all-extras --output-file requirements.lock pyproject.toml
	$(COMPILE_IMAGE) --extra otel --extra temporal --output-file docker/image.lock pyproject.toml
	$(COMPILE_IMAGE) --extra otel --extra temporal --extra emulators --output-file docker/demo.lock pyproject.toml
	$(COMPILE) --output-file docker/build.lock docker/build.in

clean: ## Remove .venv, caches and out/
	rm -rf .venv .venv-floors .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis out
