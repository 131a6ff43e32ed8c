# `make demo` and `make test` set up everything they need in .venv. PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TEI := https://raw.githubusercontent.com/huggingface/text-embeddings-inference/v1.9.3/docs/openapi.json

.PHONY: help demo test suites avx2 emulated check lint format types docs package clean

help:  ## Show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(VENV)/base  ## Answer the model card's example with the bundled model, offline
	@$(BIN)/me5 demo
	@echo 'To go on, in this shell: . $(BIN)/activate, then: me5 --help'

# One process more than there are cores, because tests wait for services and browsers; a file stays in one of them, so that
# what it makes for all its tests is made once; and files keep their order, so that those of the browser come last.
test: $(VENV)/dev  ## Run the tests
	$(BIN)/pytest -n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --dist loadfile --no-loadscope-reorder --durations 25

# LangChain's suite brings plugins for pytest that change every other test, so it is installed beside the environment.
suites: $(VENV)/dev  ## Run what others publish: LangChain's tests on our adapters, TEI's OpenAPI document on the service
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target build/suites langchain-tests \
	    pytest-asyncio pytest-benchmark pytest-codspeed pytest-recording pytest-socket py-cpuinfo syrupy vcrpy
	PYTHONPATH=build/suites $(BIN)/pytest -o addopts= -o filterwarnings=default -o asyncio_mode=auto \
	    -o asyncio_default_fixture_loop_scope=function tests/adapters/test_suites.py
	@if curl -fsSL -o build/suites/tei.json $(TEI); then \
	    ME5_TEI_DOCUMENT=build/suites/tei.json $(BIN)/pytest tests/service/test_tei_document.py; \
	else echo "TEI's OpenAPI document could not be fetched: the test of it is skipped"; fi

# oneDNN's kernels, and with them the choice of the precision, as on a processor without AVX-512. OpenVINO's own kernels
# obey no limit: `make emulated` runs those too, some twenty times slower.
avx2: $(VENV)/dev  ## Run the engine's tests limited to AVX2
	ONEDNN_MAX_CPU_ISA=AVX2 $(BIN)/pytest -n auto tests/golden tests/contract/test_company.py \
	    tests/contract/test_engines.py tests/contract/test_parity.py

emulated: $(VENV)/dev  ## Run the engine's tests on an emulated AVX2 processor (needs qemu-user)
	qemu-x86_64 -cpu Haswell $(BIN)/python -m pytest -p no:cacheprovider tests/contract/test_company.py -k "not torch"

check: lint types docs test package  ## Everything that CI runs

lint: $(VENV)/dev  ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev  ## Check types
	$(BIN)/mypy

docs: $(VENV)/dev  ## Build the documentation's site, strictly, into build/site
	$(BIN)/python docs/site.py build/pages
	$(BIN)/zensical build --strict

format: $(VENV)/dev  ## Fix style where a tool can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What users get: installed from a wheel into an empty environment, away from the source and its development packages.
package:  ## Install the package as a user would, and run it
	rm -rf build/user && $(PYTHON) -m venv build/user
	build/user/bin/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt .
	cd build/user && HF_HUB_OFFLINE=1 bin/me5 demo --quiet && bin/me5 verify --precision f32 --quiet
	cd build/user && bin/me5 serve 2>&1 | grep -q "pip install 'me5\[serve\]'"  # an extra that is missing is named
	build/user/bin/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt '.[serve]'
	cd build/user && (timeout 10 bin/me5 serve --port 0 || test $$? = 124) 2>&1 | grep -q '"serving".*"me5-small"'

clean:  ## Remove the environment and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "me5 needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; choose one with: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/base: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

# torch is named first and pinned, so that no other build of it is ever pulled in. Compiled on all cores, which pip does on
# one; before the tests, for to them a warning of a compiler is an error.
$(VENV)/dev: $(VENV)/base
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt torch -e '.[dev]'
	$(BIN)/python -m compileall -qq -j 0 -x '/tests/' $(VENV)/lib || true
	@touch $@
