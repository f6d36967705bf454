#!/usr/bin/env bash
# mini: recognition in English, Italian and Russian, and translation of Italian and Russian into English, on 1.0 h of
# telephone prompts that come with the toolkit. Trains M2ASR by default; --train_config conf/train_supervised.yaml
# gives the supervised baseline.
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 2
. ../../utils/recipe.sh

corpus=corpus                                 # folder with transcripts.tsv and audio/
pretrain_config=                              # CPC pretraining before stage 4, e.g. conf/pretrain_cpc.yaml; empty: none
train_config=conf/train_m2asr.yaml            # what is trained
decode_config=conf/decode.yaml                # how it is decoded
min_words=3                                   # shorter prompts are trained on, but not scored
check=                                        # bars that the mean must reach, e.g. "cer<=0.30 wer<=0.80"
parse_options "$@"
. ./cmd.sh

sets=({train,dev,test}_{en,it,ru})
search=$(sed -n 's/^name: *//p' "$decode_config")

if stage 0 data "prepare data directories"; then
  python -m m2asr.bin.prepare mini --corpus "$corpus" --out data
  for name in "${sets[@]}"; do
    python -m m2asr.bin.validate --keep_long_text "data/$name" # CTC leaves such texts out, and counts them
  done
fi

if stage 1 fbank "compute features"; then
  need data/train_en/wav.scp data
  python -m m2asr.bin.fbank --config conf/fbank.yaml --nj "$nj" --data data --dump dump "${sets[@]}"
fi

if stage 2 tokens "train tokenizers"; then
  need data/train_en/text data
  python -m m2asr.bin.tokens --config "$train_config" --set "${overrides[@]}" --data data --out "$exp/tokens"
fi

if stage 3 pretrain "pretrain the encoder with CPC, if --pretrain_config is given"; then
  need dump/train_en/feats.scp fbank
  if [[ -n $pretrain_config ]]; then
    "${train_cmd[@]}" python -m m2asr.bin.train --config "$pretrain_config" --data data --dump dump \
      --exp "$exp/pretrain" --ngpu "$ngpu"
  fi
fi

if stage 4 train "train all objectives jointly"; then
  need dump/train_en/feats.scp fbank
  need "$exp/tokens" tokens
  init=()
  if [[ -n $pretrain_config ]]; then
    need "$exp/pretrain/model.pt" pretrain
    init=(--init_from "$exp/pretrain/model.pt")
  fi
  "${train_cmd[@]}" python -m m2asr.bin.train --config "$train_config" --set "${overrides[@]}" --data data --dump dump \
    --exp "$exp" "${init[@]}" --ngpu "$ngpu"
fi

if stage 5 decode "decode the test sets"; then
  need "$exp/model.pt" train
  "${decode_cmd[@]}" python -m m2asr.bin.decode --exp "$exp" --config "$decode_config" --data data --dump dump \
    --ngpu "$ngpu" test_en test_it test_ru
fi

if stage 6 score "score: error rates, BLEU, chrF"; then
  need "$exp/decode_$search" decode
  python -m m2asr.bin.score --exp "$exp" --decode "$search" --data data --recipe mini --min_words "$min_words" \
    --command "cd egs/mini && $recipe_command" --check "$check"
fi
