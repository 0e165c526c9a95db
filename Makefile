# What a person does with a clone of elanus. `make help` lists it.
# Needs: make, git, Python 3.11 or newer (PYTHON=... names another than python3).

.DEFAULT_GOAL := help
.PHONY: help serve test differential check soak lock clean bench bench-1m bench-hello bench-report

DATA ?= ./data
PARTS ?=
SYSTEMS ?= elanus,milvus,milvus-lite
DATASET ?= text
RESUME ?=
RESUMED = $(if $(RESUME),--resume)
BENCHMARKS = .venv/bin/python -m benchmarks
HISTORIES ?= 2000
SEED ?= random

help: ## show this list
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  variables: PYTHON=python3.12, DATA=./data, PARTS=\"unit conformance\""
	@echo "  of bench: SYSTEMS=elanus,milvus, PARTS=search,filter, DATASET=random, RESUME=1 to finish a run"

serve: .venv/.serve ## start a server on ports 19530 and 9091, data under ./data; installs itself the first time
	@exec .venv/bin/elanus serve --data $(DATA)

test: .venv/.dev ## run the whole suite, as CI does; PARTS="unit ..." runs some of it
	@.venv/bin/python scripts/run_suite.py $(PARTS)

differential: .venv/.dev ## ask elanus and real Milvus 2.3.5 the same and compare; SEED=7 repeats one run
	@.venv/bin/python -m tests.differential $(if $(filter-out random,$(SEED)),--seed $(SEED))

check: .venv/.dev ## lint, formatting, types, imports
	@.venv/bin/python scripts/run_suite.py check

soak: .venv/.dev ## random histories against the reference, for hours; HISTORIES=2000, SEED=1 repeats a run
	@ELANUS_MACHINE=soak ELANUS_MACHINE_EXAMPLES=$(HISTORIES) \
		.venv/bin/python -m pytest tests/machine -q -s -p no:cacheprovider --hypothesis-seed=$(SEED)

bench: .venv/.dev ## the whole harness on real text, beside Milvus and milvus-lite; SYSTEMS=all beside every peer
	@$(BENCHMARKS) run --systems $(SYSTEMS) --data $(DATASET) $(if $(PARTS),--parts $(PARTS)) --seconds 5 --rounds 3 \
		--out docs/benchmarks/$(DATASET).json $(RESUMED)
	@$(BENCHMARKS) report

bench-1m: .venv/.dev ## a million rows, and a thousand collections: recall, restart, memory
	@$(BENCHMARKS) run --systems elanus --data small --parts many --out docs/benchmarks/many.json $(RESUMED)
	@$(BENCHMARKS) run --systems elanus,milvus --data million --parts ingest,search,pymilvus,restart --plain-insert \
		--clients 1,16 --levels Strong,Eventually --seconds 5 --ef-construction 100 --out docs/benchmarks/million.json $(RESUMED)
	@$(BENCHMARKS) report

bench-hello: .venv/.dev ## the first walk of a user and Strong beside Eventually, beside real Milvus
	@$(BENCHMARKS) hello --systems elanus,milvus --out docs/benchmarks/hello.json
	@$(BENCHMARKS) strong --systems elanus,milvus --out docs/benchmarks/strong.json
	@$(BENCHMARKS) report

bench-report: .venv/.dev ## docs/benchmarks.md again, from the saved results of the runs
	@$(BENCHMARKS) report

lock: ## pin the dependencies anew (needs uv)
	scripts/lock.sh --upgrade

clean: ## remove the environment and what tools left behind; ./data stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.serve: requirements.lock pyproject.toml scripts/environment.sh
	@PYTHON="$(PYTHON)" scripts/environment.sh serve

.venv/.dev: requirements-dev.lock pyproject.toml scripts/environment.sh
	@PYTHON="$(PYTHON)" scripts/environment.sh dev
