#!/usr/bin/env bash
# M2ASR (Saif et al., Interspeech 2024): recognition of English and Mandarin and translation from four languages, merged by MoDo, above CPC.
#
#   ./run.sh --librispeech /corpora/LibriSpeech --aishell /corpora/data_aishell --covost /corpora/covost2 --ngpu 1
#   ./run.sh --librispeech ... --aishell ... --covost ... --train_config conf/train_supervised.yaml    without CPC, losses added
#
# To fetch: LibriSpeech (61 GB), AISHELL-1 (16 GB), the tables of CoVoST 2, and beside them fr, de, es, ca of Common Voice 4
# (cv-corpus-4-2019-12-10; the last command tells from where):
#   ../../.venv/bin/python -m m2asr.bin.download librispeech --out /corpora
#   ../../.venv/bin/python -m m2asr.bin.download aishell1 --out /corpora
#   ../../.venv/bin/python -m m2asr.bin.download covost2 --out /corpora/covost2 --parts fr_en de_en es_en ca_en
#
# Results: exp/<tag>/RESULTS.md. README.md lists hours, disk and published figures.

cd "$(dirname "$0")" || exit 2
. ../../utils/recipe.sh
librispeech=                        # folder that holds train-clean-100, dev-clean ...
aishell=                            # folder that holds wav/ and transcript/
covost=                             # folder that holds fr/, de/ ... and covost_v2.*.tsv
max_bad=0                           # utterances that may be dropped for a broken recording or transcript
train_config=conf/train_m2asr.yaml  # config of the training: streams, objectives, how they are merged
parse_options "$@"
. ./cmd.sh

test_sets=(test_clean test_other test_zh test_fr test_de test_es test_ca)

if stage 0 data "prepare data directories" data; then
  need "$librispeech" --librispeech
  need "$aishell" --aishell
  need "$covost" --covost
  python -m m2asr.bin.prepare librispeech --corpus "$librispeech" --out data --max_bad "$max_bad"
  python -m m2asr.bin.prepare aishell1 --corpus "$aishell" --out data/aishell --max_bad "$max_bad"
  python -m m2asr.bin.prepare covost2 --corpus "$covost" --out data --max_bad "$max_bad" --parts fr_en de_en es_en ca_en
  for part in train dev test; do
    python -m m2asr.bin.combine_data "data/${part}_zh" "data/aishell/$part"  # a name that tells the language, as the others have
  done
fi

# stages 1 fbank and texts, 2 tokens and lm, 3 pretrain, 4 train, 5 decode, 6 score
. ../../utils/fbank_to_score.sh
