# `make` alone lists what there is. What is longer than a line stands in scripts/.

PORT ?= 8080
MODEL ?= whisper-base
PYTHON ?= python3
export PORT MODEL PYTHON

.PHONY: help up down logs trainer test check format clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## Install, fetch a model and start the service on 127.0.0.1 (PORT=8080)
	@scripts/up

down: ## Stop the service (PORT=8080)
	@scripts/down

logs: ## Show the service's log (PORT=8080)
	@$(PYTHON) scripts/service.py logs

trainer: ## Install the parts that build models
	@scripts/setup train

test: ## Install everything, then run style, types and all tests
	@scripts/test

check: ## Style, format and types
	@scripts/setup dev
	@scripts/check

format: ## Put the code in form
	@scripts/setup dev
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

clean: ## Remove what was built or installed here; models in the home stay
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
