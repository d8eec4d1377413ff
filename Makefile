# Every target installs by itself what it needs; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where it is set, each of the hundreds of processes of the tests would compile all of our modules anew.
unexport PYTHONDONTWRITEBYTECODE
STAMP := $(VENV)/.installed
# Two files of tests at a time: each Asterisk is in namespaces of its own, and most of a real call is waiting.
WORKERS ?= --numprocesses 2 --dist loadfile --no-loadscope-reorder
MISSING_TOOLS = $(shell command -v sipp >/dev/null 2>&1 || echo sip-tester; command -v ip >/dev/null 2>&1 || echo iproute2; \
	command -v asterisk >/dev/null 2>&1 || command -v debootstrap >/dev/null 2>&1 || echo debootstrap; \
	command -v curl >/dev/null 2>&1 || echo curl; command -v jq >/dev/null 2>&1 || echo jq; \
	command -v cc >/dev/null 2>&1 || echo gcc libc6-dev; command -v systemd-analyze >/dev/null 2>&1 || echo systemd; \
	ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null 2>&1 || echo postgresql; \
	command -v sox >/dev/null 2>&1 || echo sox libsox-fmt-mp3; command -v ffmpeg >/dev/null 2>&1 || echo ffmpeg; \
	php -m 2>/dev/null | grep -q '^curl$$' || echo php-cli php-curl; \
	command -v espeak-ng >/dev/null 2>&1 || echo espeak-ng; \
	$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || echo python3-venv)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/'

.PHONY: tools
tools:
	@if [ -n "$(strip $(MISSING_TOOLS))" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "Installing from Debian: $(strip $(MISSING_TOOLS))"; \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(MISSING_TOOLS) >/dev/null; \
		else echo "Please install: $(MISSING_TOOLS)  (as root on Debian, make does it by itself)" >&2; exit 1; fi; fi

$(STAMP): setup.py constraints.txt | tools
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt --upgrade pip setuptools
	$(BIN)/pip install -q -c constraints.txt -e '.[dev,bench]'
	@touch $@

.PHONY: setup
setup: tools $(STAMP) ## virtual environment and system tools

.PHONY: lint
lint: setup ## ruff, mypy, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: test
test: lint ## everything: lint, types, import rules, unit, property, real Asterisk
	$(BIN)/python -m lab prepare
	$(BIN)/pytest $(WORKERS)

.PHONY: coverage
coverage: setup ## the same tests in one process, and which lines they ran
	$(BIN)/python -m lab prepare
	$(BIN)/pytest --cov --cov-report=term

.PHONY: demo
demo: setup ## a real call through everything, told in plain words; DOOR=while1 (see lab/doors) one through that API
	$(BIN)/python -m lab.demo $(DOOR)

.PHONY: soak
soak: setup ## ten minutes of calls and faults, then a campaign under 200 kills; SOAK="--seed 7 --duration 3600", CHAOS="--kills 20" for others
	$(BIN)/python -m lab.soak $(SOAK)
	$(BIN)/python -m lab.chaos $(CHAOS)

.PHONY: lab
lab: setup ## a private Asterisk with a console to play with
	$(BIN)/python -m lab shell

.PHONY: bench
bench: setup ## speed, side by side with others, in one run
	@command -v cc >/dev/null 2>&1 || { if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
		then apt-get install -q -y --no-install-recommends gcc libc6-dev; else echo "Please install: gcc" >&2; exit 1; fi; }
	$(BIN)/python -m bench

.PHONY: docs
docs: setup ## the manual as a site, in build/site; a dead link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.PHONY: pacing
pacing: setup ## simulated campaigns over a grid of teams: docs/pacing.csv, the table in docs/pacing.md, docs/pacing.svg
	@$(BIN)/pip install -q -c constraints.txt -e '.[plot]'
	$(BIN)/python -m bench.pacing

.PHONY: clean
clean: ## removes what make made in this checkout (the cached Asterisk stays)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* var
