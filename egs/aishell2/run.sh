#!/usr/bin/env bash
# AISHELL-2: Mandarin recognition, 1000 hours recorded by iOS; test sets of iOS, Android and microphone.
#
#   ./run.sh --corpus /corpora/AISHELL-2 --ngpu 1
#   ./run.sh --corpus /corpora/AISHELL-2 --train_config conf/train_bljust.yaml
#
# To fetch: AISHELL-2 and AISHELL-DEV-TEST-SET, on application (aishelltech.com).
#
# Results: exp/<tag>/RESULTS.md. README.md lists hours, disk and published figures.

cd "$(dirname "$0")" || exit 2
. ../../utils/recipe.sh
corpus=                                  # folder that holds iOS/ and AISHELL-DEV-TEST-SET/
parts=                                   # sets to prepare, such as "train dev_ios"; default: all in --corpus
max_bad=0                                # utterances that may be dropped for a broken recording or transcript
train_config=conf/train_supervised.yaml  # config of the training: streams, objectives, how they are merged
parse_options "$@"
. ./cmd.sh

test_sets=(test_ios test_android test_mic)

if stage 0 data "prepare data directories" data; then
  need "$corpus" --corpus
  python -m m2asr.bin.prepare aishell2 --corpus "$corpus" --out data --max_bad "$max_bad" --parts "$parts"
fi

# stages 1 fbank and texts, 2 tokens and lm, 3 pretrain, 4 train, 5 decode, 6 score
. ../../utils/fbank_to_score.sh
