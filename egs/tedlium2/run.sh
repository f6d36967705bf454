#!/usr/bin/env bash
# TED-LIUM 2: English talks, 207 hours, BL-JUST and its baselines.
#
#   ./run.sh --corpus /corpora/TEDLIUM_release2 --ngpu 1
#   ./run.sh --corpus /corpora/TEDLIUM_release2 --train_config conf/train_supervised.yaml
#
# To fetch TEDLIUM_release2.tar.gz (OpenSLR 19), 37 GB:
#   ../../.venv/bin/python -m m2asr.bin.download tedlium2 --out /corpora
#
# Results: exp/<tag>/RESULTS.md. README.md lists hours, disk and published figures.

cd "$(dirname "$0")" || exit 2
. ../../utils/recipe.sh
corpus=                              # folder that holds train/, dev/ and test/
parts=                               # parts to prepare: train, dev, test; default: all three
max_bad=0                            # utterances that may be dropped for a broken recording or transcript
train_config=conf/train_bljust.yaml  # config of the training: streams, objectives, how they are merged
parse_options "$@"
. ./cmd.sh

test_sets=(dev test)

if stage 0 data "prepare data directories" data; then
  need "$corpus" --corpus
  python -m m2asr.bin.prepare tedlium2 --corpus "$corpus" --out data --max_bad "$max_bad" --parts "$parts"
fi

# stages 1 fbank and texts, 2 tokens and lm, 3 pretrain, 4 train, 5 decode, 6 score
. ../../utils/fbank_to_score.sh
