"""A small folder of a user, in which commands are tried: data and texts, configs, a run, and files that no command made."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import kaldiio
import yaml

from m2asr.features.cmvn import accumulate
from m2asr.text.tokenizer import train_tokenizer
from tests.conftest import CORPUS, ROOT
from tests.data.sets import write_lines, write_set
from tests.fuzz.commands import call
from tests.recipes.tiny import ENCODER, TRAIN

PROMPTS = {"activated": "attivato", "added": "aggiunto", "calling": "chiamata", "cancelled": "annullato", "conf-full": "piena"}
CONFIG = {
    "model": {"encoder": ENCODER | {"subsampling": "windows"}},
    "streams": {"it": {"sets": ["random"], "dev": ["random"], "lang": "it"}},
    "tokens": {"it": {"type": "char", "sets": ["random"]}},
    "objectives": {"asr": {"type": "ctc", "stream": "it", "tokens": "it"}},
    "batching": {"seconds": 4, "buckets": 1},
    "optim": {"type": "adamw", "warmup_steps": 1},
    "train": TRAIN | {"epochs": 2, "save_every": 1},
}


def make_world(world: Path) -> Path:
    """Write the folder; nothing in it is marked as made by this toolkit but the tokenizer."""
    data = world / "data/it"
    data.mkdir(parents=True)
    utts = [f"it-{name}" for name in PROMPTS]
    write_lines(data / "wav.scp", [f"{utt} {CORPUS}/audio/it/{utt[3:]}.opus" for utt in utts])
    write_lines(data / "text", [f"{utt} {PROMPTS[utt[3:]]}" for utt in utts])
    for name, value in {"utt2spk": "it", "utt2lang": "it"}.items():
        write_lines(data / name, [f"{utt} {value}" for utt in utts])
    write_lines(data / "spk2utt", [f"it {' '.join(utts)}"])
    write_set(world, "random", [60, 80, 100, 70, 90, 60], "it", {"text": [f"parola {'abcdef'[n]}" for n in range(6)]})
    shutil.copy(ROOT / "egs/mini/conf/fbank.yaml", world / "dump/random/fbank.yaml")
    feats = kaldiio.load_scp(str(world / "dump/random/feats.scp"))
    kaldiio.save_mat(str(world / "dump/random/cmvn.ark"), sum(map(accumulate, feats.values())))
    config = yaml.safe_load((world / "dump/random/fbank.yaml").read_text()) | {"num_mel_bins": 4}
    (world / "dump/random/fbank.yaml").write_text(yaml.safe_dump(config))
    (world / "conf").mkdir()
    for name in ("fbank.yaml", "decode.yaml", "decode_lm.yaml", "ablation.yaml"):
        shutil.copy(ROOT / "egs/mini/conf" / name, world / "conf")
    (world / "conf/train.yaml").write_text(yaml.safe_dump(CONFIG))
    train_tokenizer("char", None, ["parola abcdef"] * 9, world / "exp/tokens/it", 1.0, False)
    shutil.copy(ROOT / "egs/mini/ablation.tar.gz", world / "runs.tar.gz")
    (world / "lines.txt").write_text("buongiorno a tutti\narrivederci a domani\n" * 3)
    write_lines(world / "rest", utts[2:])
    (world / "thesis").mkdir()
    (world / "thesis/thesis.txt").write_text("precious")
    os.mkfifo(world / "pipe")
    (world / "loop").symlink_to("loop")
    return world


RUN = {
    "train": "--config conf/train.yaml --data data --dump dump --exp exp",
    "search_models": "--config conf/decode_lm.yaml --train_config conf/train.yaml --data data --exp exp",
    "decode": "random --exp exp --config conf/decode.yaml conf/decode_lm.yaml --data data --dump dump",
    "score": "--exp exp --data data --decode greedy lm --page 5",
    "align": "data/random --exp exp --dump dump --out aligned",
    "codes": "data/random --exp exp --dump dump --out codes.npz --clusters 2 --align aligned",
}


def train_world(world: Path) -> Path:
    """Train, decode and score a run in exp/, and learn a codebook."""
    for module, line in RUN.items():
        ending = call(module, line.split(), world)
        assert ending.code == 0, ending.err
    return world


def copy_world(world: Path, copy: Path) -> Path:
    """A new copy of a folder, without what was in the old copy."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(world, copy, symlinks=True, ignore=shutil.ignore_patterns("pipe"))
    os.mkfifo(copy / "pipe")
    return copy
