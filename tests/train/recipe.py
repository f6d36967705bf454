"""A small M2ASR run on real speech that the trainer's tests share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

from tests.conftest import command

CONFIG = {
    "model": {
        "encoder": {"type": "conformer", "blocks": 1, "dim": 32, "heads": 2, "kernel": 7, "subsampling": "dwconv", "dropout": 0.1},
        "specaugment": {"freq_masks": 1, "time_masks": 1},
    },
    "streams": {"en": {"sets": ["train_en"], "dev": ["dev_en"], "lang": "en"}, "raw": {"sets": ["train_en"], "dev": ["dev_en"]}},
    "tokens": {"en": {"type": "char", "sets": ["train_en"]}, "it": {"type": "char", "sets": ["train_en"], "text": "text.it"}},
    "objectives": {
        "asr_en": {"type": "ctc", "stream": "en", "tokens": "en"},
        "st_en_it": {"type": "ctc", "stream": "en", "tokens": "it", "text": "text.it"},
        "cpc": {"type": "cpc", "stream": "raw", "level": "lower", "context": 0.6, "future": 0.4},
    },
    "weighting": {"type": "modo"},
    "penalty": {"start": 0.1, "end": 0.2},
    "batching": {"seconds": 240, "buckets": 4},
    "optim": {"type": "muon", "warmup_steps": 4},
    "train": {
        "epochs": 2,
        "epoch_of": "en",
        "precision": "float32",
        "seed": 3,
        "save_every": 2,
        "log_every": 2,
        "average_best": 2,
        "workers": 1,
    },
}
# The same on the development set alone, an eighth of the audio, for tests of how a run goes on and ends rather than of what it learns.
SMALL = CONFIG | {
    "streams": {name: stream | {"sets": stream["dev"]} for name, stream in CONFIG["streams"].items()},
    "batching": {"seconds": 60, "buckets": 4},
}


def prepare(exp: Path, mini_data: Path, config: dict | None = None) -> Path:
    """Write the config and train the tokenizers into exp/tokens; returns the config's path."""
    exp.mkdir(parents=True, exist_ok=True)
    path = exp / "given.yaml"
    path.write_text(yaml.safe_dump(config or CONFIG), encoding="utf-8")
    done = command("tokens", "--config", path, "--data", mini_data, "--out", exp / "tokens")
    assert done.returncode == 0, done.stderr
    return path


def module(name: str) -> list[str]:
    """The command line of an entry point."""
    return [sys.executable, "-m", f"m2asr.bin.{name}"]


def train_options(exp: Path, config: Path, data: Path, dump: Path, *more: str) -> list[str]:
    """The options of training in `exp`."""
    return ["--config", str(config), "--data", str(data), "--dump", str(dump), "--exp", str(exp), "--threads", "1", *more]


def train_command(exp: Path, config: Path, data: Path, dump: Path, *more: str) -> list[str]:
    """The command line that trains in `exp`, for a process that is killed or starts others."""
    return [*module("train"), *train_options(exp, config, data, dump, *more)]


def train(exp: Path, config: Path, data: Path, dump: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Train in `exp` and wait for the end."""
    return command("train", *train_options(exp, config, data, dump, *more))


def folder(path: Path, tokens: Path) -> Path:
    """A folder for a run, with tokenizers that are there already."""
    path.mkdir()
    (path / "tokens").symlink_to(tokens)
    return path
