#!/usr/bin/env bash
# AISHELL-1: Mandarin recognition, 178 hours, BL-JUST and its baselines.
#
#   ./run.sh --corpus /corpora/data_aishell --ngpu 1
#   ./run.sh --corpus /corpora/data_aishell --train_config conf/train_supervised.yaml
#
# To fetch (OpenSLR 33), 16 GB; by hand, data_aishell.tgz with every wav/*.tar.gz in it extracted:
#   ../../.venv/bin/python -m m2asr.bin.download aishell1 --out /corpora
#
# Results: exp/<tag>/RESULTS.md. README.md lists hours, disk and published figures.

cd "$(dirname "$0")" || exit 2
. ../../utils/recipe.sh
corpus=                              # folder that holds wav/ and transcript/
parts=                               # parts to prepare: train, dev, test; default: all three
unlabelled=                          # data directory of speech whose texts are not read, for MMSpeech, such as ../aishell2/data/train
sentences=                           # files of plain text, a sentence per line, also .gz, for MMSpeech
max_bad=0                            # utterances that may be dropped for a broken recording or transcript
train_config=conf/train_bljust.yaml  # config of the training: streams, objectives, how they are merged
parse_options "$@"
. ./cmd.sh

test_sets=(test)
read -ra text_files <<<"$sentences"

if stage 0 data "prepare data directories" data; then
  need "$corpus" --corpus
  python -m m2asr.bin.prepare aishell1 --corpus "$corpus" --out data --max_bad "$max_bad" --parts "$parts"
  if [ -n "$unlabelled" ]; then
    need "$unlabelled" --unlabelled
    python -m m2asr.bin.combine_data data/unlabelled "$unlabelled"
  fi
  if [ -n "$sentences" ]; then
    python -m m2asr.bin.prepare_text "${text_files[@]}" --lang zh --out data/text_zh --min 2 --max 128 --without data/dev data/test
  fi
fi

# stages 1 fbank and texts, 2 tokens and lm, 3 pretrain, 4 train, 5 decode, 6 score
. ../../utils/fbank_to_score.sh
