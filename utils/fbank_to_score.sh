# shellcheck shell=bash disable=SC2154
# Stages 1 to 6, the same in every recipe; run.sh sources them after its stage 0. A recipe that needs other stages writes its own instead.
# They read data/, the configs, and the array test_sets: the sets to decode and score. Test sets that are not prepared are left out.

if stage 1 fbank "compute features of the sets that the configs name" "$dump/.$tag"; then
  need data data
  find_prepared "${test_sets[@]}"
  python -m m2asr.bin.fbank "${prepared[@]}" --config "$fbank_config" --nj "$nj" --data data --dump "$dump" --keep \
    --train_config "${configs[@]}" --train_set "${overrides[@]}" "${pipes[@]}"
fi

if stage 1 texts "write the phones and codes that the config reads" "data/.$tag" tokens; then
  need data data
  if [ -n "$codes_config" ]; then
    need "$dump" fbank
    $train_cmd python -m m2asr.bin.train --config "$codes_config" --data data --dump "$dump" --exp "$codes_exp" --ngpu "$ngpu" \
      --nproc "$nproc" "${pipes[@]}"
  fi
  python -m m2asr.bin.texts --config "$train_config" --set "${overrides[@]}" --data data --dump "$dump" "${reading[@]}"
fi

if stage 2 tokens "train tokenizers" "$exp/tokens"; then
  need data data
  python -m m2asr.bin.tokens --config "$train_config" --set "${overrides[@]}" --data data --out "$exp/tokens"
fi

if stage 2 lm "make the language models that the searches name" "$exp/lm" decode; then
  need "$exp/tokens" tokens
  python -m m2asr.bin.search_models --config "${decode_configs[@]}" --train_config "$train_config" --set "${overrides[@]}" \
    --data data --exp "$exp"
fi

if stage 3 pretrain "pretrain the encoder, where --pretrain_config is given" "$exp/pretrain"; then
  if [ -n "$pretrain_config" ]; then
    need "$dump" fbank
    $train_cmd python -m m2asr.bin.train --config "$pretrain_config" --data data --dump "$dump" --exp "$exp/pretrain" --ngpu "$ngpu" \
      --nproc "$nproc" "${pipes[@]}"
  fi
fi

if stage 4 train "train on all objectives" "$exp"; then
  need "$dump" fbank
  need "$exp/tokens" tokens
  $train_cmd python -m m2asr.bin.train --config "$train_config" --set "${overrides[@]}" --data data --dump "$dump" --exp "$exp" \
    "${init[@]}" --ngpu "$ngpu" --nproc "$nproc" "${pipes[@]}"
fi

if stage 5 decode "recognize and translate the test sets" "$exp/decode_${searches[0]}"; then
  need "$exp/model.pt" train
  find_prepared "${test_sets[@]}"
  $decode_cmd python -m m2asr.bin.decode "${prepared[@]}" --exp "$exp" --config "${decode_configs[@]}" --data data --dump "$dump" \
    --ngpu "$ngpu" --nj "$nj"
fi

if stage 6 score "score them" "$exp/decode_${searches[0]}"; then
  need "$exp/decode_${searches[0]}" decode
  python -m m2asr.bin.score --exp "$exp" --decode "${searches[@]}" --data data --min_words "$min_words" --by "$by" --command "$command"
fi
