# m2asr: everything that is run from here. Another python: make setup PYTHON=/path/to/python3

SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

help:  # print this list
	@sed -nE 's/^([a-z]+):[^#]*# (.*)/make \1\t\2/p' Makefile | expand -t 14

setup: $(READY)  # install everything into .venv (once)

demo: $(READY)  # train on the embedded speech in three languages and check the error rates
	cd egs/mini && ./run.sh
	cd egs/mini && ../../$(BIN)/python -m m2asr.bin.score --exp exp/train_m2asr --decode greedy --data data --min_words 3 \
		--check "cer<=0.30 wer<=0.80"

test: $(READY)  # run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not recipes and not download"

recipes: $(READY)  # walk through the recipes as a user does
	$(BIN)/python -m pytest -m recipes tests/recipes

lint: $(READY)  # check the style of Python and shell files
	$(BIN)/ruff check .
	$(BIN)/shellcheck .ci/run $(wildcard utils/*.sh tools/*.sh egs/*/*.sh egs/*/local/*.sh)

bench: $(READY)  # print speed and memory
	cd egs/mini && ./run.sh --stop_stage tokens
	for bench in tools/bench_*.py; do echo "== $$bench"; $(BIN)/python "$$bench" || exit 1; done

clean:  # remove .venv, caches, and what the mini recipe made
	rm -rf .venv .pytest_cache .ruff_cache *.egg-info egs/mini/data egs/mini/dump egs/mini/exp
	find . -name __pycache__ -prune -exec rm -rf {} +

# Two makes at once wait for each other; the stamp is written last, so an interrupted set-up is done again.
$(READY): setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || \
		{ echo "error: $(PYTHON): Python 3.10 or newer is needed: apt-get install python3 python3-venv, or make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "error: $(PYTHON) cannot make virtual environments: apt-get install python3-venv" >&2; exit 1; }
	@flock setup.py bash -ec '[[ ! $@ -nt $< ]] || exit 0; echo "installing into .venv"; $(PYTHON) -m venv .venv; \
		$(BIN)/python -m pip install --quiet --editable ".[test,lint]"; touch $@'

.PHONY: help setup demo test recipes lint bench clean
