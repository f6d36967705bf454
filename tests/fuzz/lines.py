"""A command line of every entry point, and its mutations."""

from __future__ import annotations

import random

TRAIN = "--config conf/train.yaml --data data --dump dump"
LINES = {
    "ablate": "--config conf/ablation.yaml --table --archive runs.tar.gz --set hours=2 --expdir exp --jobs 1 --decode greedy",
    "align": "data/it --exp exp --dump dump --out aligned --format ctm --worst 1 --batch_seconds 10 --ngpu 0",
    "average": "--exp exp --n 1",
    "check": "--constraints missing.txt",
    "codes": "data/it --exp exp --dump dump --out codes.npz --clusters 2 --share 0.5 --max_bad 1 --tap output --align aligned",
    "combine_data": "data/both data/it data/random",
    "compare": "a=exp b=exp/tokens --decode greedy --objectives asr",
    "conflicts": "exp",
    "decode": "random --exp exp --config conf/decode.yaml --set beam=2 --data data --dump dump --ngpu 0",
    "download": "librispeech --out downloads --parts dev-clean --remove_archives",
    "expert_plan": "--config conf/train.yaml --set batching.seconds=4 --processes 2 --vocab 100",
    "experts": "exp --sets random --data data --dump dump --ngpu 0",
    "fbank": "it --config conf/fbank.yaml --set num_mel_bins=4 --data data --dump dump --nj 1 --compress --keep",
    "fix_data_dir": "data/it --lang it --config conf/fbank.yaml",
    "lm": "--text data/it lines.txt --words --out lm --order 2 --prune 0 1 --every 1 --dev data/it --gzip",
    "phones": "data/it data/random --lang it --how letters",
    "plot": "--exp exp",
    "prepare": "aishell1 --corpus data --out data --parts train --max_bad 1",
    "prepare_text": "lines.txt --lang it --out data/texts --without data/it --min 1 --max 5 --foreign 0.2",
    "score": "--exp exp --decode greedy --data data --min_words 1 --by spk --check cer<=0.3 --page 0",
    "search_models": "--config conf/decode_lm.yaml --train_config conf/train.yaml --set train.seed=1 --data data --exp exp",
    "subset_data_dir": "data/it data/few --first 2",
    "texts": f"{TRAIN} --how letters --codes_exp exp --tap output --clusters 2",
    "tokens": "--config conf/train.yaml --set train.seed=1 --data data --out exp/tokens",
    "train": f"{TRAIN} --exp exp --set train.seed=1 --max_restarts 0 --threads 1 --nproc 1",
    "transcribe": "thesis --exp exp --lang it --to en --out texts --format txt --cut windows --longest 9 --pause 0.5",
    "validate": "data/it --config conf/fbank.yaml --sample_rate 16000 --no_wav --subsampling 4 --frame_shift 10 --tokens exp/tokens/it",
}
VALUES = [
    "",
    " ",
    "-1",
    "0",
    "1",
    "0.5",
    "nan",
    "inf",
    "1e999",
    "9" * 30,
    "10_0",
    "٣",
    "x",
    "..",
    ".",
    "a b",
    "a\nb",
    "x" * 300,
    "ж",
    "\udcff",
    "a\0b",
    "-",
    "--",
    "-x",
    "--help",
    "--no_such",
    "[]",
    "{",
    "=",
    "a=",
    "=a",
    "a=b=c",
    "a.b=1",
    "train=1",
    "*",
    "~",
    "$HOME",
    "$(touch x)",
    "data",
    "data/it",
    "data/it/text",
    "data/random",
    "dump",
    "dump/random",
    "exp",
    "exp/tokens",
    "exp/tokens/it",
    "conf",
    "conf/fbank.yaml",
    "conf/train.yaml",
    "lines.txt",
    "lines.txt/x",
    "runs.tar.gz",
    "thesis",
    "thesis/thesis.txt",
    "pipe",
    "loop",
    "missing",
    ".",
]


def mutate_line(words: list[str], rng: random.Random) -> list[str]:
    """A command line with one to three words replaced, left out, said twice, exchanged or put in."""
    words = list(words)
    for _ in range(rng.randint(1, 3)):
        at, other = rng.randrange(len(words) + 1), rng.randrange(len(words) + 1)
        how = rng.choice(["replace", "replace", "replace", "leave out", "twice", "exchange", "put in", "equals"])
        if how == "replace":
            words[at : at + 1] = [rng.choice(VALUES)]
        elif how == "leave out":
            del words[at : at + 1]
        elif how == "twice":
            words[at:at] = words[other : other + 2]
        elif how == "exchange" and at < len(words) and other < len(words):
            words[at], words[other] = words[other], words[at]
        elif how == "equals":
            words[at : at + 1] = [f"{word}={rng.choice(VALUES)}" for word in words[at : at + 1]]
        else:
            words.insert(at, rng.choice(VALUES))
    return words
