#!/usr/bin/env bash
# WenetSpeech: Mandarin from YouTube and podcasts, 1000 labelled hours (M), or 100 (S) with 1000 unlabelled.
#
#   ./run.sh --corpus /corpora/WenetSpeech --parts "train_m dev test_net test_meeting" --ngpu 1
#   ./run.sh --corpus /corpora/WenetSpeech --train_config conf/train_bljust.yaml
#
# To fetch: WenetSpeech, on application (wenet-e2e.github.io/WenetSpeech), with its utils/download_wenetspeech.sh.
#
# Results: exp/<tag>/RESULTS.md. README.md lists hours, disk and published figures.

cd "$(dirname "$0")" || exit 2
. ../../utils/recipe.sh
corpus=                                  # folder that holds WenetSpeech.json and audio/
parts=                                   # sets to prepare: train_l, train_m, train_s, dev, test_net, test_meeting, unlabelled; default: all
max_bad=0                                # utterances that may be dropped for a broken recording or transcript
train_config=conf/train_supervised.yaml  # config of the training: streams, objectives, how they are merged
parse_options "$@"
. ./cmd.sh

test_sets=(dev test_net test_meeting)

if stage 0 data "prepare data directories" data; then
  need "$corpus" --corpus
  python -m m2asr.bin.prepare wenetspeech --corpus "$corpus" --out data --max_bad "$max_bad" --parts "$parts"
fi

# stages 1 fbank and texts, 2 tokens and lm, 3 pretrain, 4 train, 5 decode, 6 score
. ../../utils/fbank_to_score.sh
