#!/usr/bin/env bash
# CoVoST 2: recognition in French, German, Spanish and Catalan, and translation of each into English.
#
#   ./run.sh --corpus /corpora/covost2 --ngpu 1                 M2ASR: eight objectives merged by MoDo, under CPC
#   ./run.sh --corpus /corpora/covost2 --train_config conf/train_supervised.yaml
#   ./run.sh --corpus /corpora/covost2 --train_config conf/train_s2tt.yaml --decode_config conf/decode_attention.yaml
#   ./run.sh --corpus /corpora/covost2 --train_config conf/train_levels.yaml    three levels: CPC, recognition, translation
#
# To fetch: the tables, 25 MB, and beside them fr, de, es and ca of Common Voice 4 (cv-corpus-4-2019-12-10; the command tells from where):
# fr/clips/*.mp3, fr/validated.tsv, covost_v2.fr_en.tsv ... under one folder.
#   ../../.venv/bin/python -m m2asr.bin.download covost2 --out /corpora/covost2 --parts fr_en de_en es_en ca_en
#
# Results: exp/<tag>/RESULTS.md. README.md tells hours, disk and published figures.

cd "$(dirname "$0")" || exit 2
. ../../utils/recipe.sh
corpus=                             # folder that holds fr/, de/ ... and covost_v2.*.tsv
langs="fr de es ca"                 # languages whose test sets are recognized and translated
parts=                              # pairs to prepare, such as "fr_en de_en"; default: all that are there
max_bad=0                           # utterances that may be dropped for a broken recording or transcript
dump=dump                           # folder of the features
fbank_config=conf/fbank.yaml        # config of the features
train_config=conf/train_m2asr.yaml  # config of the training: streams, objectives, how they are merged
decode_config=conf/decode.yaml      # config of the search
parse_options "$@"
. ./cmd.sh

read -ra wanted <<<"$langs"
test_sets=("${wanted[@]/#/test_}")
configs=("$train_config")
init=()
if [ -n "$pretrain_config" ]; then configs+=("$pretrain_config") init=(--init_from "$exp/pretrain/model.pt"); fi
search=$(yaml_value "$decode_config" name)
read -ra chosen <<<"${parts:+--parts $parts}"

if stage 0 data "prepare data directories" data; then
  need "$corpus" --corpus
  python -m m2asr.bin.prepare covost2 --corpus "$corpus" --out data --max_bad "$max_bad" "${chosen[@]}"
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
