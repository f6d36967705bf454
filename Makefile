# The commands of m2asr; `make` alone lists them. Another Python: make setup PYTHON=/path/to/python3
# An older pair of torch and torchaudio: make setup CONSTRAINTS=constraints-torch2.11.txt; later calls keep this choice.

SHELL := /bin/bash
BIN := .venv/bin
ifeq ($(origin PYTHON), undefined)  # .venv keeps its Python until another is chosen
PYTHON := $(shell $(BIN)/python -c 'import sys; print(sys._base_executable)' 2>/dev/null || echo python3)
endif
TESTS ?= tests
TORCH_TESTS := tests/features tests/models tests/moo tests/objectives \
	$(patsubst %,tests/train/test_%.py,average checkpoint gate initialize levels muon optim precision step trainer)

# two processes on two cores; more would divide the demo's small steps too finely
DEMO := ./run.sh --tag demo --nproc $(shell [ "$$(nproc)" -gt 1 ] && echo 2 || echo 1) --set train.hours=9.5

help:  # print this list
	@sed -nE 's/^([a-z-]+):[^#]*# (.*)/make \1\t\2/p' Makefile | expand -t 18

setup:  # install everything into .venv, in the versions of constraints.txt, and check it (once)
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || \
		{ echo "error: $(PYTHON): Python 3.10 to 3.13 is needed: apt-get install python3 python3-venv, or make PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" tools/install.py $(if $(CONSTRAINTS),--constraints "$(CONSTRAINTS)") $(if $(DISK_GB),--disk_gb $(DISK_GB))

check: setup  # tell what is installed, what is missing, and what does not work
	$(BIN)/python -m m2asr.bin.check

update: setup  # choose new versions for the constraints files, test with them, and only then write them (half an hour)
	$(BIN)/python tools/update_constraints.py

demo: setup  # train on the embedded speech in three languages and check the error rates
	cd egs/mini && $(DEMO)
	cd egs/mini && ../../$(BIN)/python -m m2asr.bin.score --exp exp/demo --decode greedy lm --data data --min_words 3 --page 0 \
		--command "$(DEMO)" --check "greedy.cer<=0.24 greedy.wer<=0.73 lm.cer<=0.16 lm.wer<=0.40"

test: setup  # run the tests, or some of them: make test TESTS=tests/moo
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not recipes and not download" $(TESTS)

fuzz: setup  # try thousands of mutated options, configs and files, and kill hundreds of commands: make fuzz CASES=20000 SEED=1
	OMP_NUM_THREADS=1 M2ASR_FUZZ=$(or $(CASES),5000) M2ASR_FUZZ_SEED=$(or $(SEED),1) $(BIN)/python -m pytest -q -n auto tests/fuzz

test-torch: setup  # run the tests that touch torch's interfaces, without the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not recipes and not download and not slow" $(TORCH_TESTS)

recipes: setup  # walk through the recipes as a user does
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 2 --dist loadfile -m recipes tests/recipes

lint: setup  # check the style of Python and shell files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/shellcheck .ci/run $(wildcard utils/*.sh tools/*.sh egs/*/*.sh egs/*/local/*.sh)

bench: setup  # print speed and memory
	cd egs/mini && for config in m2asr just 3m; do ./run.sh --stop_stage tokens --train_config conf/train_$$config.yaml || exit 1; done
	for bench in tools/bench_*.py; do echo "== $$bench"; $(BIN)/python "$$bench" || exit 1; done

clean:  # remove .venv, caches, and what the mini recipe made
	rm -rf .venv .pytest_cache .ruff_cache *.egg-info egs/mini/data egs/mini/dump egs/mini/exp
	find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help setup check update demo test fuzz test-torch recipes lint bench clean
