#!/usr/bin/env bash
# M2ASR (Saif et al., Interspeech 2024): recognition of English and Mandarin and translation from four languages, merged by MoDo, under CPC.
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
# Results: exp/<tag>/RESULTS.md. README.md tells hours, disk and published figures.

cd "$(dirname "$0")" || exit 2
. ../../utils/recipe.sh
librispeech=                        # folder that holds train-clean-100, dev-clean ...
aishell=                            # folder that holds wav/ and transcript/
covost=                             # folder that holds fr/, de/ ... and covost_v2.*.tsv
max_bad=0                           # utterances that may be dropped for a broken recording or transcript
dump=dump                           # folder of the features
fbank_config=conf/fbank.yaml        # config of the features
train_config=conf/train_m2asr.yaml  # config of the training: streams, objectives, how they are merged
decode_config=conf/decode.yaml      # config of the search
parse_options "$@"
. ./cmd.sh
[ -z "$corpus" ] || die "--corpus: this recipe has three; name them with --librispeech, --aishell and --covost"

test_sets=(test_clean test_other test_zh test_fr test_de test_es test_ca)
configs=("$train_config")
init=()
if [ -n "$pretrain_config" ]; then configs+=("$pretrain_config") init=(--init_from "$exp/pretrain/model.pt"); fi
search=$(yaml_value "$decode_config" name)

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

if stage 1 fbank "compute features of the sets that the configs name" "$dump/.$tag"; then
  need data data
  sets_there "${test_sets[@]}"
  python -m m2asr.bin.fbank "${there[@]}" --config "$fbank_config" --nj "$nj" --data data --dump "$dump" --keep \
    --train_config "${configs[@]}" --train_set "${overrides[@]}"
fi

if stage 2 tokens "train tokenizers" "$exp/tokens"; then
  need data data
  python -m m2asr.bin.tokens --config "$train_config" --set "${overrides[@]}" --data data --out "$exp/tokens"
fi

if stage 3 pretrain "pretrain the encoder, where --pretrain_config is given" "$exp/pretrain"; then
  if [ -n "$pretrain_config" ]; then
    need "$dump" fbank
    $train_cmd python -m m2asr.bin.train --config "$pretrain_config" --data data --dump "$dump" --exp "$exp/pretrain" --ngpu "$ngpu"
  fi
fi

if stage 4 train "train on all objectives" "$exp"; then
  need "$dump" fbank
  need "$exp/tokens" tokens
  $train_cmd python -m m2asr.bin.train --config "$train_config" --set "${overrides[@]}" --data data --dump "$dump" --exp "$exp" \
    "${init[@]}" --ngpu "$ngpu"
fi

if stage 5 decode "recognize and translate the test sets" "$exp/decode_$search"; then
  need "$exp/model.pt" train
  sets_there "${test_sets[@]}"
  $decode_cmd python -m m2asr.bin.decode --exp "$exp" --config "$decode_config" --data data --dump "$dump" --ngpu "$ngpu" "${there[@]}"
fi

if stage 6 score "score them" "$exp/decode_$search"; then
  need "$exp/decode_$search" decode
  python -m m2asr.bin.score --exp "$exp" --decode "$search" --data data --command "$command"
fi
