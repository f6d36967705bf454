#!/usr/bin/env bash
# Mini: telephone prompts in English, Italian and Russian, one speaker each.
# Recognition in three languages, and translation from Italian and Russian into English.
#
#   ./run.sh                                             everything
#   ./run.sh --train_config conf/train_supervised.yaml   the baseline, in a folder of its own
#   ./run.sh --stage tokens --tag longer --set "train.hours=40"
#   ./run.sh --stage decode --decode_config conf/decode_beam.yaml
#
# Results: exp/<tag>/RESULTS.md

cd "$(dirname "$0")" || exit 2
. ../../utils/recipe.sh
corpus=corpus                       # folder that holds transcripts.tsv and audio/
train_config=conf/train_m2asr.yaml  # config of the training: streams, objectives, how they are merged
codes_clusters=100                  # number of codes
min_words=3                         # test prompts of fewer words are not scored
parse_options "$@"
. ./cmd.sh

test_sets=(test_en test_it test_ru)

if stage 0 data "prepare data directories" data; then
  need "$corpus" --corpus
  python -m m2asr.bin.prepare mini --corpus "$corpus" --out data
fi

# stages 1 fbank and texts, 2 tokens and lm, 3 pretrain, 4 train, 5 decode, 6 score
. ../../utils/fbank_to_score.sh
