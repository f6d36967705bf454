#!/usr/bin/env bash
# LibriSpeech: English recognition with 100 labelled hours, BL-JUST and its baselines.
#
#   ./run.sh --corpus /corpora/LibriSpeech --ngpu 1      BL-JUST on train-clean-100, which is all of the training data it needs
#   ./run.sh --corpus /corpora/LibriSpeech --train_config conf/train_supervised.yaml    a baseline, in a folder of its own
#   ./run.sh --corpus /corpora/LibriSpeech --train_config conf/train_bljust_960.yaml    CPC on all 960 hours
#
# To fetch (OpenSLR 12), 7.7 GB; for 960 hours without --parts, 61 GB:
#  ../../.venv/bin/python -m m2asr.bin.download librispeech --out /corpora --parts train-clean-100 dev-clean dev-other test-clean test-other
#
# Results: exp/<tag>/RESULTS.md. README.md lists hours, disk and published figures.

cd "$(dirname "$0")" || exit 2
. ../../utils/recipe.sh
corpus=                              # folder that holds train-clean-100, dev-clean ...
parts=                               # parts to prepare, such as "train-clean-100 dev-clean"; default: all in --corpus
max_bad=0                            # utterances that may be dropped for a broken recording or transcript
train_config=conf/train_bljust.yaml  # config of the training: streams, objectives, how they are merged
parse_options "$@"
. ./cmd.sh

test_sets=(test_clean test_other)

if stage 0 data "prepare data directories" data; then
  need "$corpus" --corpus
  python -m m2asr.bin.prepare librispeech --corpus "$corpus" --out data --max_bad "$max_bad" --parts "$parts"
fi

# stages 1 fbank and texts, 2 tokens and lm, 3 pretrain, 4 train, 5 decode, 6 score
. ../../utils/fbank_to_score.sh
