# smtp-proxy. `make` alone lists the targets; each one sets up what it needs.
.DEFAULT_GOAL := help
STACK ?= prod
# uv has its own list of authorities; the machine's list also knows a company's own.
export UV_SYSTEM_CERTS := 1
export UV_PYTHON_DOWNLOADS := never
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .local/uv/bin/uv)
RUN := $(UV) run --frozen --no-sync
EMULATOR := .local/emulator
PEBBLE := $(if $(shell command -v pebble 2>/dev/null),,.local/pebble/usr/bin/pebble)

# What may have no line and no branch without a test (QG-3): certificates, and how each process ends.
COMPLETE := */certificates/*,backing/stop.py,relay/server.py,relay/protection.py,web/serving.py,worker/consumer.py

.PHONY: help setup demo up down status admin test covered check check-doors check-infra bench plan format docs

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.local/uv/bin/uv:
	@echo "Installing uv into .local/uv"
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-warn-script-location --target .local/uv uv

setup: $(UV) $(PEBBLE) ## Install everything into .venv and .local (no root needed)
	@$(UV) sync --frozen --quiet
	@UV_PROJECT_ENVIRONMENT=$(EMULATOR) $(UV) sync --frozen --quiet --only-group emulator

# An ACME server for tests, from Debian's or Ubuntu's package; without one, tests against it are skipped, and fail in CI.
# A machine that was never asked for packages knows of none: then its lists are fetched, to a folder that needs no root.
OWN_APT := apt-get -qq -o Dir::State::Lists=$(CURDIR)/.local/pebble/lists -o Dir::Cache=$(CURDIR)/.local/pebble/cache
.local/pebble/usr/bin/pebble:
	@mkdir -p .local/pebble/lists/partial .local/pebble/cache
	@cd .local/pebble && { \
		{ apt-get -qq download pebble || { $(OWN_APT) update && $(OWN_APT) download pebble; }; } && \
		dpkg -x pebble_*.deb . && rm -r pebble_*.deb lists cache; } >/dev/null 2>&1 || \
		echo "No ACME server for tests: install pebble (apt-get update && apt-get install pebble)"

demo: setup ## Start the product, send real mail through it, show what happened
	@$(RUN) python -m infra.plan prod --summary
	@$(RUN) python -m local demo

up: setup ## Start the product on this machine and leave it running
	@$(RUN) python -m local up --detach

down: setup ## Stop it
	@$(RUN) python -m local down

status: setup ## Show what runs, where, and how it is
	@$(RUN) python -m local status

admin: setup ## Run the operator's command against it (ARGS="account list")
	@$(RUN) python -m local admin $(ARGS)

test: setup ## Run every test
	@$(RUN) pytest -n 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term

# CPython 3.11 does not tell of every line after an await that a timeout ended: up to five of 2,900 may be lost in a run.
covered: ## After `make test`: check that certificates and draining are covered completely
	@$(RUN) coverage report --include='$(COMPLETE)' --precision=2 --fail-under=99.8

check: setup ## Check format, lint, types, architecture
	@$(RUN) ruff format --check .
	@$(RUN) ruff check .
	@$(RUN) lint-imports
	@$(MAKE) --no-print-directory -j 2 check-doors check-infra

# Either takes one core for a minute or more.
check-doors:
	@$(RUN) mypy
	@$(RUN) mypy --explicit-package-bases --exclude tests/infra tests bench docs

check-infra:
	@$(RUN) pyright

format: setup ## Format the code and fix what can be fixed
	@$(RUN) ruff check --fix-only --quiet .
	@$(RUN) ruff format .

docs: setup ## Write the reference pages from the code
	@PYTHONPATH=. $(RUN) python docs/generate.py

bench: setup ## Measure speed against baselines
	@$(RUN) python -m bench

plan: setup ## Show what `pulumi up` would build (STACK=prod|dev, ARGS="--only cost")
	@$(RUN) python -m infra.plan $(STACK) $(ARGS)
