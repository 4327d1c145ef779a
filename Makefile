# `make help` lists what can be done. Every target brings its own environment.
BIN := .venv/bin
READY := .venv/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
VENV := $(BIN)/python -m venv --clear --without-pip

# `make lock` keeps the versions it finds; `make lock UPGRADE=1` takes the newest.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --annotation-style line \
	--custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

# An organisation's own certificates are the system's, not uv's.
export UV_SYSTEM_CERTS := 1

.DEFAULT_GOAL := help
.PHONY: help setup run test fast check coverage fix policies wheel manifests bench micro soak lock drift lowest other

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(READY) ## make .venv from the locked requirements (PYTHON=… to choose one)
	@echo 'setup: .venv is ready'

run: $(READY) ## show the gateway at work: four requests, no key, no network
	@$(BIN)/imagegate demo

test: $(READY) ## run the whole suite, in two processes
	$(BIN)/python tests/house/suite.py

fast: $(READY) ## run the engine's tests, in seconds
	$(BIN)/python tests/house/suite.py -q --hypothesis-profile=fast tests/engine

check: $(READY) ## run all that CI runs
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory policies wheel
	@mkdir -p build
	@# Beside the suite: two cores are there, and it tells only what is wrong.
	@$(BIN)/python tests/house/engine_coverage.py >build/engine.txt 2>&1 & engine=$$!; \
	$(BIN)/python tests/house/suite.py; suite=$$?; \
	wait $$engine || { cat build/engine.txt; exit 1; }; exit $$suite

coverage: $(READY) ## run the whole suite, and name the lines that it does not reach
	$(BIN)/pytest --cov --cov-report=term

fix: $(READY) ## repair what ruff can repair, and format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

policies: $(READY) ## check the shipped policies and try their cases
	@for policy in policies/*/policy.yaml; do \
		$(BIN)/imagegate check "$$policy" || exit; done
	@$(BIN)/imagegate test policies

wheel: $(READY) ## build the wheel, install it apart and try it
	@rm -rf dist
	@$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@$(VENV) build/wheel
	@$(PIP) --python build/wheel/bin/python install --quiet --require-hashes -r deploy/requirements.txt
	@$(PIP) --python build/wheel/bin/python install --quiet --no-deps dist/*.whl
	@cd / && "$(CURDIR)/build/wheel/bin/python" -I "$(CURDIR)/tests/house/smoke.py"

manifests: $(READY) ## try what deploy/ holds with the real tools
	@$(VENV) build/manifests
	@$(PIP) --python build/manifests/bin/python install --quiet --require-hashes -r tests/deploy/requirements.txt
	@PATH="$(CURDIR)/build/manifests/bin:$$PATH" $(BIN)/pytest tests/deploy

bench: $(READY) ## measure the gateway beside nginx (ROUNDS=… SECONDS=… JSON=…)
	@$(BIN)/python tests/bench/gateway.py $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(SECONDS),--seconds $(SECONDS)) $(if $(CLIENT),--client $(CLIENT)) \
		$(if $(LITELLM),--litellm $(LITELLM)) $(if $(JSON),--json $(JSON))

micro: $(READY) ## measure the parts: deciding, reading, scanning, recording
	@for part in body engine scan audit client; do $(BIN)/python tests/bench/$$part.py || exit; done

soak: $(READY) ## run the invariants with many examples, and what takes minutes
	$(BIN)/pytest -o faulthandler_timeout=0 --hypothesis-profile=soak -m 'soak or hypothesis'

lock: $(READY) ## lock the requirements anew (UPGRADE=1 for the newest versions)
	$(LOCK) --group dev pyproject.toml -o tests/requirements.txt
	$(LOCK) --constraint tests/requirements.txt pyproject.toml -o deploy/requirements.txt
	$(LOCK) --constraint tests/requirements.txt --all-extras pyproject.toml -o deploy/requirements-extras.txt
	$(LOCK) --constraint tests/requirements.txt --group build -o deploy/docker/build.txt
	$(LOCK) --group manifests -o tests/deploy/requirements.txt

drift: $(READY) ## compare the catalogue and the doors with the newest SDKs
	@$(VENV) build/drift
	@$(PIP) --python build/drift/bin/python install --quiet openai azure-ai-projects .
	@build/drift/bin/python tests/contract/drift.py
	@build/drift/bin/python tests/support/carriers.py

lowest: $(READY) ## run the suite on the oldest versions that pyproject.toml admits
	@$(VENV) build/lowest
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --python $(BIN)/python \
		--no-header --group dev pyproject.toml -o build/lowest/requirements.txt
	@$(PIP) --python build/lowest/bin/python install --quiet -r build/lowest/requirements.txt
	@$(PIP) --python build/lowest/bin/python install --quiet --no-deps --no-build-isolation -e .
	build/lowest/bin/python -m pytest

# Debian's python3 is older than what comes first elsewhere, and has read patterns
# differently.
other: $(READY) ## run the engine's tests and the demo with another Python (OTHER=…)
	@$(or $(OTHER),/usr/bin/python3) -m venv --clear --without-pip build/other
	@$(PIP) --python build/other/bin/python install --quiet --require-hashes -r tests/requirements.txt
	@$(PIP) --python build/other/bin/python install --quiet --no-deps --no-build-isolation -e .
	@build/other/bin/python -VV
	build/other/bin/python -m pytest -q --hypothesis-profile=fast tests/engine tests/cli/test_demo.py

# Not phony by name: .ci/setup looks at contents and is done at once when they are old.
$(READY): FORCE
	@.ci/setup
FORCE:
