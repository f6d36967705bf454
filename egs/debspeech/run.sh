#!/usr/bin/env bash
# Debspeech: real speech out of Debian packages, 12 hours of telephone prompts, dialogues of games and read texts in nine languages.
# Recognition in English, Czech and Dutch; translation from English into German, from Czech and Dutch into English; CPC on all of them.
#
#   ./run.sh                                        M2ASR: six objectives merged by MoDo, above CPC; fetches 673 MB (apt-get, pip) first
#   ./run.sh --mirror https://MIRROR/debian         from a Debian mirror of your choice, where apt-get is not that of Debian 12
#   ./run.sh --train_config conf/train_supervised.yaml
#   ./run.sh --train_config conf/train_m2asr_zh.yaml --langs "en zh"     English and semi-synthetic Mandarin
#   ./run.sh --train_config conf/train_mmspeech.yaml --codes_config conf/pretrain_cpc_zh.yaml --langs zh --texts zh     MMSpeech
#   ./ablation.sh                                   four systems, several seeds, equal hours of audio, one table
#
# Results: exp/<tag>/RESULTS.md, per language and per source. README.md lists hours, disk, licences and limits.

cd "$(dirname "$0")" || exit 2
. ../../utils/recipe.sh
downloads=downloads                 # folder of the packages; missing packages are fetched
mirror=                             # address of a Debian mirror that holds pool/; default: through apt-get
parts=                              # sources to fetch and prepare, such as "fillets steelsky"; default: all
texts=                              # languages that also get texts of books and sayings, and a quarter of their speech as few_<language>: zh, cs
max_bad=0                           # utterances that may be dropped for a broken recording
langs="en cs nl"                    # languages whose test sets are recognized and translated
train_config=conf/train_m2asr.yaml  # config of the training: streams, objectives, how they are merged
codes_clusters=100                  # number of codes
min_words=3                         # test utterances of fewer words are not scored
by=source                           # group of additional scores: source, spk or lang
parse_options "$@"
. ./cmd.sh

read -ra languages <<<"$langs"
read -ra text_languages <<<"$texts"
test_sets=("${languages[@]/#/test_}")

if stage 0 data "fetch the packages and prepare data directories" data; then
  python -m m2asr.bin.download debspeech --out "$downloads" --mirror "$mirror" --parts "$parts"
  python -m m2asr.bin.prepare debspeech --corpus "$downloads" --out data --max_bad "$max_bad" --parts "$parts"
fi

if stage 0 books "fetch books and sayings, and take out few pairs, for the languages of --texts" data; then
  for lang in "${text_languages[@]}"; do
    python -m m2asr.bin.download debtexts --out "$downloads" --mirror "$mirror" --parts "$lang"
    python -m m2asr.bin.prepare debtexts --corpus "$downloads" --out data --parts "$lang"
    awk 'NR % 4 == 0' "data/train_$lang/utt2lang" >"data/.few_$lang"
    python -m m2asr.bin.subset_data_dir "data/train_$lang" "data/few_$lang" --utt_list "data/.few_$lang"
  done
fi

# stages 1 fbank and texts, 2 tokens and lm, 3 pretrain, 4 train, 5 decode, 6 score
. ../../utils/fbank_to_score.sh
