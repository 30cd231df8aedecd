# `make serve` and `make test` are all that a fresh machine needs; see the README.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := service.py train.py score.py serving training examples deploy tests benchmarks
# One process for each core, so that none needs more threads. (-n auto would leave out hyperthreads.)
PYTEST_ON_ALL_CORES = OMP_NUM_THREADS=1 $(BIN)/pytest -n logical --maxprocesses 8
# A file's tests share servers. Which file begins first, tests/conftest.py says.
BY_FILES = --dist loadfile --no-loadscope-reorder
# Tests of servers wait for much of their time.
ONE_MORE = $(shell $(PYTHON) -c 'import os; print(os.cpu_count() + 1)')
# Where CI is set, as .ci/run does. It more than doubles the time of the tests; so property tests, which it
# slows down most and which may reach other lines each time, are run with the slow ones then.
COVERAGE = $(if $(CI),--cov --cov-report=term-missing:skip-covered)
SLOW = slow$(if $(CI), or hypothesis)
# An environment of its own: to put pip into it would take longer than all the rest.
NEW = $(PYTHON) -m venv --clear --without-pip
# Other servers' clients, each in such an environment.
CLIENTS = $(patsubst tests/system/clients/requirements/%.txt,$(VENV)/clients/%/installed,$(wildcard tests/system/clients/requirements/*.txt))
# Requirements into the environment of a Python; by pip it takes longer, and goes wherever pip is set up.
INSTALL = $(BIN)/uv pip install --quiet --python $(1) -r $(2) \
  || $(BIN)/python -m pip --python $(1) install --quiet --disable-pip-version-check -r $(2)
# Other libraries that explain models, likewise.
JUDGES = $(patsubst tests/system/judges/requirements/%.txt,$(VENV)/judges/%/installed,$(wildcard tests/system/judges/requirements/*.txt))
# Other programs that write models, likewise.
WRITERS = $(patsubst tests/system/writers/requirements/%.txt,$(VENV)/writers/%/installed,$(wildcard tests/system/writers/requirements/*.txt))
# Engines that score tables on many machines, likewise, with what their workers need.
ENGINES = $(patsubst tests/system/engines/requirements/%.txt,$(VENV)/engines/%/installed,$(wildcard tests/system/engines/requirements/*.txt))
BENTO_STORE = $(or $(BENTOML_HOME),$(HOME)/bentoml)

.PHONY: serve key train image sbom check lint types unit test packages tools system test-system image-test bench bench-bulk soak overload audit format lock clean

serve: $(VENV)/runtime $(BENTO_STORE)/models/iris/latest  ## everything, then the service on port 8000
	$(BIN)/bentoml serve

$(BENTO_STORE)/models/iris/latest: | $(VENV)/train
	$(BIN)/python train.py

key: $(VENV)/runtime  ## an API key for a client: make key NAME=alice [QUOTA=1000/minute]
	$(BIN)/python -m serving.door.auth $(NAME) $(QUOTA)

train: $(VENV)/train
	$(BIN)/python train.py $(ARGS)

image: $(VENV)/image $(if $(MODEL),,$(BENTO_STORE)/models/iris/latest)  ## the container image of the service with models: MODEL=penguins:latest,iris make image
	$(BIN)/python -m deploy.image.build

sbom: $(VENV)/image  ## what an image holds
	$(BIN)/python -m deploy.image.sbom

check: lint types unit

lint: $(VENV)/dev
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)

types: $(VENV)/dev
	$(BIN)/mypy

unit: $(VENV)/dev
	$(PYTEST_ON_ALL_CORES) --dist worksteal tests/unit -m "not ($(SLOW))" $(COVERAGE)

test: check
	$(PYTEST_ON_ALL_CORES) --dist worksteal tests/unit -m "$(SLOW)"
	$(PYTEST_ON_ALL_CORES) -n $(ONE_MORE) $(BY_FILES) tests/wire -m "not alone"
	$(BIN)/pytest tests/wire -m alone

packages:
	PATH="$$PATH:/usr/sbin" .ci/system-packages promtool=prometheus chromium=chromium redis-server=redis-server nginx=nginx openssl=openssl java=default-jre-headless npm=npm

tools: packages $(VENV)/dev $(VENV)/audit/installed $(VENV)/browser/installed $(CLIENTS) $(JUDGES) $(WRITERS) $(ENGINES)  ## what test-system needs beside

system: tools
	$(PYTEST_ON_ALL_CORES) $(BY_FILES) tests/system -m "not alone"

test-system: system
	$(BIN)/pytest tests/system -m alone

image-test: $(VENV)/dev  ## builds the image and runs it; needs docker or podman
	$(BIN)/pytest tests/image --timeout 900

bench: $(VENV)/dev  ## this service beside its peers; ARGS=--guard for a short run that fails below wide bounds
	$(BIN)/python -m benchmarks.run $(ARGS)

bench-bulk: $(VENV)/dev  ## scoring a table, beside pandas and MLflow
	$(BIN)/python -m benchmarks.bulk $(ARGS)

soak: $(VENV)/runtime $(BENTO_STORE)/models/iris/latest  ## mixed traffic for minutes, all of it checked
	$(BIN)/python -m tests.load.soak $(ARGS)

overload: $(VENV)/train  ## twice the load that the service can carry
	$(BIN)/python -m tests.load.overload $(ARGS)

audit: $(VENV)/audit/installed  ## asks a service about vulnerabilities of all pinned packages
	$(VENV)/audit/bin/python .ci/audit.py $(ARGS)

format: $(VENV)/dev
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

lock: $(VENV)/dev
	$(BIN)/uv pip compile --quiet --upgrade --no-header requirements.in -o requirements.txt
	$(BIN)/uv pip compile --quiet --upgrade --no-header requirements-train.in -o requirements-train.txt
	$(BIN)/uv pip compile --quiet --upgrade --no-header requirements-bulk.in -o requirements-bulk.txt
	$(BIN)/uv pip compile --quiet --upgrade --no-header requirements-image.in -o requirements-image.txt
	$(BIN)/uv pip compile --quiet --upgrade --no-header requirements-dev.in -o requirements-dev.txt
	$(BIN)/uv pip compile --quiet --upgrade --no-header requirements-audit.in -o requirements-audit.txt

$(VENV)/runtime: requirements.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed: make PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/train: requirements-train.txt $(VENV)/runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-train.txt
	touch $@

$(VENV)/bulk: requirements-bulk.txt $(VENV)/runtime  ## what scoring tables needs beside the service
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bulk.txt
	touch $@

$(VENV)/image: requirements-image.txt $(VENV)/runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-image.txt
	touch $@

$(VENV)/dev: requirements-dev.txt $(VENV)/train $(VENV)/image
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $$(grep '^uv==' requirements-dev.txt)
	$(call INSTALL,$(BIN)/python,$<)
	touch $@

$(VENV)/audit/installed: requirements-audit.txt | $(VENV)/dev
	$(NEW) $(@D)
	$(call INSTALL,$(@D)/bin/python,$<)
	touch $@

$(VENV)/clients/%/installed: tests/system/clients/requirements/%.txt | $(VENV)/dev
	$(NEW) $(@D)
	$(call INSTALL,$(@D)/bin/python,$<)
	touch $@

$(VENV)/browser/installed: tests/system/browser/package-lock.json | $(VENV)/dev
	mkdir -p $(@D)
	cp tests/system/browser/package*.json $(@D)
	npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --silent
	touch $@

$(VENV)/judges/%/installed: tests/system/judges/requirements/%.txt | $(VENV)/dev
	$(NEW) $(@D)
	$(call INSTALL,$(@D)/bin/python,$<)
	touch $@

$(VENV)/writers/%/installed: tests/system/writers/requirements/%.txt | $(VENV)/dev
	$(PYTHON) -m venv --clear $(@D)  # with pip, whose version MLflow notes
	$(call INSTALL,$(@D)/bin/python,$<)
	touch $@

$(VENV)/engines/%/installed: tests/system/engines/requirements/%.txt requirements.txt requirements-bulk.txt | $(VENV)/dev
	$(NEW) $(@D)
	$(call INSTALL,$(@D)/bin/python,$<)
	touch $@

clean:
	rm -rf $(VENV) .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
