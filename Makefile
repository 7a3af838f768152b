# The commands of this project. Each sets up what it needs: Python 3.11 or newer, and nothing else.

PYTHON ?= python3
STACK ?= dev
PORT ?= 8080
FUZZ ?= 50

python := .venv/bin/python
tools := $(python) -m tools
jsonschema := $(python) -m check_jsonschema --builtin-schema
no_pulumi := Pulumi's CLI is not on PATH. Install it: https://www.pulumi.com/docs/iac/download-install/

# Packages are compiled to bytecode when they are first used. Without that, every command would
# compile them again, which takes longer than all the rest.
unexport PYTHONDONTWRITEBYTECODE
# The others change which modules Python finds, or turn warnings into errors.
unexport PYTHONPATH PYTHONSAFEPATH PYTHONWARNINGS

.PHONY: help
help: ## Show these commands; `.venv/bin/tools --help` shows the others
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The stamp comes last, so that an interrupted set-up starts over.
.venv/ready: requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "This needs Python 3.11 or newer; $(PYTHON) is older. Name one: make PYTHON=python3.12" >&2; \
		exit 1; }
	@echo "Setting up .venv (once; takes a minute) ..."
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@$(python) -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes \
		-r requirements-dev.txt
	@printf '#!/bin/sh\nexec "$$(dirname "$$0")/python" -m tools "$$@"\n' > .venv/bin/tools
	@chmod +x .venv/bin/tools
	@touch $@

.PHONY: up
up: .venv/ready ## Run the stack on this machine, or redeploy it (STACK=dev PORT=8080)
	@$(tools) up --stack $(STACK) --port $(PORT)

.PHONY: down
down: .venv/ready ## Stop what runs on this machine (all stacks, or STACK=...)
	@$(tools) down $(if $(filter command environment,$(firstword $(origin STACK))),--stack $(STACK))

.PHONY: status
status: .venv/ready ## Show what the running stack holds and refused (STACK=dev)
	@$(tools) status --stack $(STACK)

.PHONY: test
test: .venv/ready ## Run all tests
	@# More workers than most machines have cores: many tests wait for other processes.
	@$(python) -m pytest -n 4 --dist loadfile

.PHONY: engine
engine: .venv/ready ## Run the program under Pulumi's real engine (needs its CLI on PATH, no account)
	$(if $(shell command -v pulumi 2>/dev/null),,$(error $(no_pulumi)))
	@$(python) -m pytest tests/engine

.PHONY: fuzz
fuzz: .venv/ready ## Run the property tests with FUZZ times as many random examples (FUZZ=50)
	@FUZZ=$(FUZZ) $(python) -m pytest -n auto --dist loadfile -m hypothesis --timeout 3600

.PHONY: check
check: .venv/ready ## Check format, lint, types, imports, workflows, policies, roles, limits
	@failed=; status=0; \
	part() { \
		name=$$1; shift; "$$@"; code=$$?; \
		[ $$code = 0 ] && return; \
		[ $$code -le $$status ] || status=$$code; \
		failed="$$failed$$(printf '  %-10s %s' "$$name" "$$*")\n"; \
	}; \
	part format $(python) -m ruff format --check .; \
	part lint $(python) -m ruff check .; \
	part types $(python) -m mypy .; \
	part imports .venv/bin/lint-imports --no-logo; \
	part workflows .venv/bin/zizmor --offline --quiet .github; \
	part workflows $(jsonschema) vendor.github-workflows .github/workflows/*.yml; \
	part workflows $(jsonschema) vendor.github-actions .github/actions/*/action.yml; \
	part workflows $(jsonschema) vendor.dependabot .github/dependabot.yml; \
	part policy $(tools) policy; \
	part roles $(tools) roles; \
	part limits $(tools) review; \
	[ $$status = 0 ] || { printf "\nFailed:\n$$failed"; exit $$status; }

.PHONY: review
review: .venv/ready ## Find limits that contradict each other, in all stacks
	@$(tools) review

.PHONY: simulate
simulate: .venv/ready ## Send traffic through a stack's limits on paper (STACK=dev ARGS="--client ...")
	@$(tools) simulate --stack $(STACK) $(or $(ARGS),--profile seed)

.PHONY: load
load: .venv/ready ## Test the limits of what runs, over HTTP (STACK=dev ARGS="--profile plan")
	@$(tools) load $(if $(filter command environment,$(firstword $(origin STACK))),--stack $(STACK)) $(ARGS)

.PHONY: bench
bench: .venv/ready ## Measure what should be fast (ARGS="handler sandbox"; all takes 12 minutes)
	@$(tools) bench $(ARGS)

.PHONY: format
format: .venv/ready ## Format the code and fix what the linter can
	@$(python) -m ruff format .
	@$(python) -m ruff check --fix .

.PHONY: lock
lock: .venv/ready ## Lock the dependencies, with hashes
	@# What is deployed is a part of what is tested, in the same versions.
	@tested=; for name in requirements-dev requirements policy/requirements .github/requirements; do \
		[ $$name = requirements-dev ] || tested="--constraint requirements-dev.txt"; \
		$(python) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
			--no-annotate --custom-compile-command "make lock" $$tested $$name.in -o $$name.txt || exit 1; \
	done
