#!/usr/bin/env bash
# CoVoST 2: recognition in French, German, Spanish and Catalan, and translation of each into English.
#
#   ./run.sh --corpus /corpora/covost2 --ngpu 1                 M2ASR: eight objectives merged by MoDo, above CPC
#   ./run.sh --corpus /corpora/covost2 --train_config conf/train_supervised.yaml
#   ./run.sh --corpus /corpora/covost2 --train_config conf/train_s2tt.yaml --decode_config conf/decode_attention.yaml
#   ./run.sh --corpus /corpora/covost2 --train_config conf/train_levels.yaml    three levels: translation above recognition above CPC
#
# To fetch: the tables, 25 MB, and beside them fr, de, es and ca of Common Voice 4 (cv-corpus-4-2019-12-10; the command tells from where):
# fr/clips/*.mp3, fr/validated.tsv, covost_v2.fr_en.tsv ... under one folder.
#   ../../.venv/bin/python -m m2asr.bin.download covost2 --out /corpora/covost2 --parts fr_en de_en es_en ca_en
#
# Results: exp/<tag>/RESULTS.md. README.md lists hours, disk and published figures.

cd "$(dirname "$0")" || exit 2
. ../../utils/recipe.sh
corpus=                             # folder that holds fr/, de/ ... and covost_v2.*.tsv
langs="fr de es ca"                 # languages whose test sets are recognized and translated
parts=                              # pairs to prepare, such as "fr_en de_en"; default: all in --corpus
max_bad=0                           # utterances that may be dropped for a broken recording or transcript
train_config=conf/train_m2asr.yaml  # config of the training: streams, objectives, how they are merged
parse_options "$@"
. ./cmd.sh

read -ra languages <<<"$langs"
test_sets=("${languages[@]/#/test_}")

if stage 0 data "prepare data directories" data; then
  need "$corpus" --corpus
  python -m m2asr.bin.prepare covost2 --corpus "$corpus" --out data --max_bad "$max_bad" --parts "$parts"
fi

# stages 1 fbank and texts, 2 tokens and lm, 3 pretrain, 4 train, 5 decode, 6 score
. ../../utils/fbank_to_score.sh
