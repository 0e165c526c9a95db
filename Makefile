# What a person does with a clone of elanus. `make help` lists it.
# Needs: make, git, Python 3.11 or newer (PYTHON=... names another than python3).

.DEFAULT_GOAL := help
.PHONY: help serve test differential check lock clean bench bench-1m bench-hello

DATA ?= ./data
PARTS ?=
SYSTEMS ?= elanus,milvus

help: ## show this list
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  variables: PYTHON=python3.12, DATA=./data, PARTS=\"unit conformance\""

serve: .venv/.serve ## start a server on ports 19530 and 9091, data under ./data; installs itself the first time
	@exec .venv/bin/elanus serve --data $(DATA)

test: .venv/.dev ## run the whole suite, as CI does; PARTS="unit ..." runs some of it
	@.venv/bin/python scripts/run_suite.py $(PARTS)

differential: .venv/.dev ## ask elanus and real Milvus 2.3.5 the same and compare; SEED=7 repeats one run
	@.venv/bin/python -m tests.differential $(if $(SEED),--seed $(SEED))

check: .venv/.dev ## lint, formatting, types, imports
	@.venv/bin/python scripts/run_suite.py check

bench: .venv/.dev ## the whole harness on real text, beside real Milvus; SYSTEMS="..." names others
	@.venv/bin/python -m benchmarks run --systems $(SYSTEMS) --data text --out docs/benchmarks/text.json
	@.venv/bin/python -m benchmarks report

bench-1m: .venv/.dev ## a million rows, and a thousand collections: recall, restart, memory
	@.venv/bin/python -m benchmarks run --systems $(SYSTEMS) --data million --parts ingest,search,restart \
		--plain-insert --clients 1,16 --levels Strong,Eventually --out docs/benchmarks/million.json
	@.venv/bin/python -m benchmarks run --systems elanus --data small --parts many --out docs/benchmarks/many.json
	@.venv/bin/python -m benchmarks report

bench-hello: .venv/.dev ## the first walk of a user and Strong beside Eventually, beside real Milvus
	@.venv/bin/python -m benchmarks hello --systems $(SYSTEMS) --out docs/benchmarks/hello.json
	@.venv/bin/python -m benchmarks strong --systems $(SYSTEMS) --out docs/benchmarks/strong.json
	@.venv/bin/python -m benchmarks report

lock: ## pin the dependencies anew (needs uv)
	scripts/lock.sh --upgrade

clean: ## remove the environment and what tools left behind; ./data stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.serve: requirements.lock pyproject.toml scripts/environment.sh
	@PYTHON="$(PYTHON)" scripts/environment.sh serve

.venv/.dev: requirements-dev.lock pyproject.toml scripts/environment.sh
	@PYTHON="$(PYTHON)" scripts/environment.sh dev
