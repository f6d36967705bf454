# shellcheck shell=bash disable=SC2154
# Stages 1 to 6, the same in every recipe; run.sh sources them after its stage 0. A recipe that wants others writes its own instead.
# They read data/, the configs, and the array test_sets: the sets that are decoded and scored, those of them that are prepared.

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
  python -m m2asr.bin.score --exp "$exp" --decode "$search" --data data --min_words "$min_words" --by "$by" --command "$command"
fi
