#!/usr/bin/env bash
# Multilingual LibriSpeech: read books; recognition in Italian, Portuguese and Polish, or in seven languages with 10 labelled hours each.
#
#   ./run.sh --corpus /corpora/mls --ngpu 1                     M2ASR: three languages merged by MoDo, under CPC
#   ./run.sh --corpus /corpora/mls --train_config conf/train_supervised.yaml
#   ./run.sh --corpus /corpora/mls --train_config conf/train_m2asr_10h.yaml --langs "de nl fr es it pt pl"
#
# To fetch (OpenSLR 94) as FLAC, 32 GB; italian_opus and so on are a quarter of that:
#   ../../.venv/bin/python -m m2asr.bin.download mls --out /corpora/mls --parts italian portuguese polish
#
# Results: exp/<tag>/RESULTS.md. README.md tells hours, disk and published figures.

cd "$(dirname "$0")" || exit 2
. ../../utils/recipe.sh
corpus=                             # folder that holds mls_italian/, mls_polish/ ...
langs="it pt pl"                    # languages whose test sets are recognized
parts=                              # languages to prepare, such as "italian polish"; default: all that are there
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
  python -m m2asr.bin.prepare mls --corpus "$corpus" --out data --max_bad "$max_bad" "${chosen[@]}"
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

if stage 5 decode "recognize the test sets" "$exp/decode_$search"; then
  need "$exp/model.pt" train
  sets_there "${test_sets[@]}"
  $decode_cmd python -m m2asr.bin.decode --exp "$exp" --config "$decode_config" --data data --dump "$dump" --ngpu "$ngpu" "${there[@]}"
fi

if stage 6 score "score them" "$exp/decode_$search"; then
  need "$exp/decode_$search" decode
  python -m m2asr.bin.score --exp "$exp" --decode "$search" --data data --command "$command"
fi
