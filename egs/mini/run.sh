#!/usr/bin/env bash
# Mini: telephone prompts in English, Italian and Russian, one speaker each.
# Recognition in three languages, and translation from Italian and Russian into English.
#
#   ./run.sh                                             everything, about 15 minutes on two cores
#   ./run.sh --train_config conf/train_supervised.yaml   the baseline, in a folder of its own
#   ./run.sh --stage train --tag longer --set "train.hours=40"
#   ./run.sh --stage decode --decode_config conf/my_search.yaml
#
# Results: exp/<tag>/RESULTS.md

cd "$(dirname "$0")" || exit 2
. ../../utils/recipe.sh
corpus=corpus                        # folder that holds transcripts.tsv and audio/
fbank_config=conf/fbank.yaml         # config of the features
train_config=conf/train_m2asr.yaml   # config of the training: streams, objectives, how they are merged
decode_config=conf/decode.yaml       # config of the search
min_words=3                          # test prompts of fewer words are not scored
parse_options "$@"
. ./cmd.sh

train_sets=(train_en train_it train_ru dev_en dev_it dev_ru)
test_sets=(test_en test_it test_ru)
init=()
if [ -n "$pretrain_config" ]; then init=(--init_from "$exp/pretrain/model.pt"); fi
search=$(yaml_value "$decode_config" name)

if stage 0 data "prepare data directories" data; then
  need "$corpus" --corpus
  python -m m2asr.bin.prepare mini --corpus "$corpus" --out data
fi

if stage 1 fbank "compute features" dump; then
  need data/train_en/wav.scp data
  python -m m2asr.bin.fbank --config "$fbank_config" --nj "$nj" --data data --dump dump "${train_sets[@]}" "${test_sets[@]}"
fi

if stage 2 tokens "train tokenizers" "$exp/tokens"; then
  need data/train_en/text data
  python -m m2asr.bin.tokens --config "$train_config" --set "${overrides[@]}" --data data --out "$exp/tokens"
fi

if stage 3 pretrain "pretrain the encoder, where --pretrain_config is given" "$exp/pretrain"; then
  if [ -n "$pretrain_config" ]; then
    need dump/train_en/feats.scp fbank
    $train_cmd python -m m2asr.bin.train --config "$pretrain_config" --data data --dump dump --exp "$exp/pretrain" --ngpu "$ngpu"
  fi
fi

if stage 4 train "train on all objectives" "$exp"; then
  need dump/train_en/feats.scp fbank
  need "$exp/tokens" tokens
  $train_cmd python -m m2asr.bin.train --config "$train_config" --set "${overrides[@]}" --data data --dump dump --exp "$exp" \
    "${init[@]}" --ngpu "$ngpu"
fi

if stage 5 decode "recognize and translate the test sets" "$exp/decode_$search"; then
  need "$exp/model.pt" train
  need dump/test_en/feats.scp fbank
  $decode_cmd python -m m2asr.bin.decode --exp "$exp" --config "$decode_config" --data data --dump dump --ngpu "$ngpu" "${test_sets[@]}"
fi

if stage 6 score "score them" "$exp/decode_$search"; then
  need "$exp/decode_$search" decode
  python -m m2asr.bin.score --exp "$exp" --decode "$search" --data data --min_words "$min_words" --command "$command"
fi
