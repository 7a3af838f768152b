# The commands of this project. Each sets up what it needs: Python 3.11 or newer, and nothing else.

PYTHON ?= python3
STACK ?= dev
PORT ?= 8080
FUZZ ?= 50

python := .venv/bin/python

# Packages are compiled when they are first used. Where that may not be kept, each command would
# compile them anew, which takes longer than all the rest.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## Show these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The stamp comes last, so that a set-up that was interrupted starts over.
.venv/ready: requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, and $(PYTHON) is not. Name one: make PYTHON=python3.12" >&2; \
		exit 1; }
	@echo "Setting up .venv (once; takes a minute) ..."
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@$(python) -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes \
		-r requirements-dev.txt
	@touch $@

.PHONY: up
up: .venv/ready ## Run the stack on this machine, or redeploy it (STACK=dev PORT=8080)
	@$(python) -m sandbox up --stack $(STACK) --port $(PORT)

.PHONY: down
down: .venv/ready ## Stop what runs on this machine (all stacks, or STACK=...)
	@$(python) -m sandbox down $(if $(filter command environment,$(firstword $(origin STACK))),--stack $(STACK))

.PHONY: status
status: .venv/ready ## Show what the running stack holds and refused (STACK=dev)
	@$(python) -m sandbox status --stack $(STACK)

.PHONY: test
test: .venv/ready ## Run all tests
	@$(python) -m pytest -n auto --dist loadfile

.PHONY: fuzz
fuzz: .venv/ready ## Attack it for longer, with FUZZ times the examples of make test (FUZZ=50)
	@FUZZ=$(FUZZ) $(python) -m pytest -n auto --dist loadfile -m hypothesis --timeout 3600

.PHONY: check
check: .venv/ready ## Check format, lint, types, locks, policies, workflows, limits
	@$(python) -m ruff format --check .
	@$(python) -m ruff check .
	@$(python) -m mypy .
	@.venv/bin/zizmor --offline --quiet .github
	@$(python) -m check_jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(python) -m check_jsonschema --builtin-schema vendor.github-actions .github/actions/*/action.yml
	@$(python) -m check_jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(python) -m policy.dependencies
	@$(python) -m policy.check
	@$(python) -m throttling review

.PHONY: review
review: .venv/ready ## Find limits that contradict each other, in all stacks
	@$(python) -m throttling review

.PHONY: simulate
simulate: .venv/ready ## Send traffic through a stack's limits (STACK=dev ARGS="--client ...")
	@$(python) -m throttling simulate --stack $(STACK) $(or $(ARGS),--profile docs/traffic/throttle-test.yaml)

.PHONY: load
load: .venv/ready ## Prove the limits of what runs, over HTTP (STACK=dev ARGS="--scenario plan")
	@$(python) -m operations load $(if $(filter command environment,$(firstword $(origin STACK))),--stack $(STACK)) $(ARGS)

.PHONY: bench
bench: .venv/ready ## Measure what is said to be fast (ARGS="handler program"; all takes 10 minutes)
	@$(python) -m benchmarks $(ARGS)

.PHONY: format
format: .venv/ready ## Format the code and fix what the linter can
	@$(python) -m ruff format .
	@$(python) -m ruff check --fix .

.PHONY: lock
lock: .venv/ready ## Lock the dependencies anew, with hashes
	@# What is deployed is a part of what is tested, in the same versions.
	@tested=; for name in requirements-dev requirements policy/requirements .github/requirements; do \
		[ $$name = requirements-dev ] || tested="--constraint requirements-dev.txt"; \
		$(python) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
			--no-annotate --custom-compile-command "make lock" $$tested $$name.in -o $$name.txt || exit 1; \
	done
