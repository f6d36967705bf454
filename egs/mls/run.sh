#!/usr/bin/env bash
# Multilingual LibriSpeech: read books; recognition in Italian, Portuguese and Polish, in seven languages with 10 labelled hours each,
# or in all eight languages.
#
#   ./run.sh --corpus /corpora/mls --ngpu 1                     M2ASR: three languages merged by MoDo, above CPC
#   ./run.sh --corpus /corpora/mls --train_config conf/train_supervised.yaml
#   ./run.sh --corpus /corpora/mls --train_config conf/train_m2asr_10h.yaml --langs "de nl fr es it pt pl"
#   ./run.sh --corpus /corpora/mls --train_config conf/train_just_base.yaml --langs "en de nl fr es it pt pl" \
#     --decode_config conf/decode_transducer.yaml             JUST: a transducer for eight languages with self-supervised losses
#
# To fetch (OpenSLR 94) as FLAC, 32 GB; italian_opus and so on are a quarter of that:
#   ../../.venv/bin/python -m m2asr.bin.download mls --out /corpora/mls --parts italian portuguese polish
#
# Results: exp/<tag>/RESULTS.md. README.md lists hours, disk and published figures.

cd "$(dirname "$0")" || exit 2
. ../../utils/recipe.sh
corpus=                             # folder that holds mls_italian/, mls_polish/ ...
langs="it pt pl"                    # languages whose test sets are recognized
parts=                              # languages to prepare, such as "italian polish"; default: all in --corpus
max_bad=0                           # utterances that may be dropped for a broken recording or transcript
train_config=conf/train_m2asr.yaml  # config of the training: streams, objectives, how they are merged
parse_options "$@"
. ./cmd.sh

read -ra languages <<<"$langs"
test_sets=("${languages[@]/#/test_}")

if stage 0 data "prepare data directories" data; then
  need "$corpus" --corpus
  python -m m2asr.bin.prepare mls --corpus "$corpus" --out data --max_bad "$max_bad" --parts "$parts"
fi

# stages 1 fbank and texts, 2 tokens and lm, 3 pretrain, 4 train, 5 decode, 6 score
. ../../utils/fbank_to_score.sh
