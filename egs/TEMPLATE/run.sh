#!/usr/bin/env bash
# TEMPLATE: a recipe for your own corpus; copy this folder and read README.md.
#
#   ./run.sh --corpus my_corpus                         a table of recordings and texts per set: my_corpus/train.tsv, dev.tsv, test.tsv
#   ./run.sh --stage fbank                              where data/train, data/dev and data/test are Kaldi data directories already
#   ./run.sh --corpus my_corpus --train_config conf/train_bljust.yaml
#
# Results: exp/<tag>/RESULTS.md. README.md explains the tables and what to change.

cd "$(dirname "$0")" || exit 2
. ../../utils/recipe.sh
corpus=                                  # folder of the tables
parts=                                   # tables to prepare, such as "train dev"; default: all
max_bad=0                                # utterances that may be dropped for a broken recording or transcript
train_config=conf/train_supervised.yaml  # config of the training: streams, objectives, how they are merged
parse_options "$@"
. ./cmd.sh

test_sets=(test)

if stage 0 data "prepare data directories" data; then
  need "$corpus" --corpus
  python -m m2asr.bin.prepare tsv --corpus "$corpus" --out data --max_bad "$max_bad" --parts "$parts"
fi

# stages 1 fbank and texts, 2 tokens and lm, 3 pretrain, 4 train, 5 decode, 6 score
. ../../utils/fbank_to_score.sh
