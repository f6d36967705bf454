"""A small system that has learned 12 recordings by heart: English and Italian, translation, and which language is spoken."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from m2asr.data.audio import read_audio
from m2asr.data.directory import read_tables, replace_data_dir, select
from m2asr.files import lock
from tests.conftest import ROOT, command

SETS = ("some_en", "some_it")
PAUSES = ((0.0, 0.0), (0.18, 0.16), (0.7, 0.2))  # seconds of quiet before and after a recording, in which it is heard while training
CONFIG = {
    "model": {
        "encoder": {"type": "conformer", "blocks": 2, "dim": 64, "heads": 2, "kernel": 7, "subsampling": "windows", "dropout": 0.0},
        "specaugment": None,
    },
    "streams": {
        "en": {"sets": ["paused_en"], "dev": ["some_en"], "lang": "en"},
        "it": {"sets": ["paused_it"], "dev": ["some_it"], "lang": "it"},
        "all": {"sets": ["paused_en", "paused_it"], "dev": list(SETS)},
    },
    "tokens": {
        "en": {"type": "char", "sets": ["some_en"]},
        "it": {"type": "char", "sets": ["some_it"]},
        "en_cased": {"type": "char", "sets": ["some_it"], "text": "text.en"},
    },
    "objectives": {
        "asr_en": {"type": "ctc", "stream": "en", "tokens": "en"},
        "asr_it": {"type": "ctc", "stream": "it", "tokens": "it"},
        "st_it_en": {"type": "ctc", "stream": "it", "tokens": "en_cased", "text": "text.en"},
        "lid": {"type": "langid", "stream": "all"},
    },
    "batching": {"seconds": 24, "buckets": 1, "shares": {"all": 0.2}},
    "optim": {"type": "muon", "lr": {"backbone": 3.0e-3, "heads": 3.0e-3, "ssl": 3.0e-3}, "warmup_steps": 20},
    "train": {"epochs": 40, "epoch_of": "en", "precision": "float32", "workers": 0, "eval_every": 40, "select": "last", "average_best": 1},
}


def train(root: Path, mini_data: Path) -> Path:
    """Train it in root/exp, with the sets in root/data; returns root/exp."""
    for name in SETS:
        tables = read_tables(mini_data / name.replace("some", "dev"))
        seconds = {utt: float(value) for utt, value in tables["utt2dur"].items() if len(tables["text"][utt].split()) > 1}
        keep = set(sorted(seconds, key=lambda utt: (seconds[utt], utt))[:6])
        tables = select(tables, keep)
        replace_data_dir(root / "data" / name, tables)
        replace_data_dir(root / "data" / name.replace("some", "paused"), paused(tables, root / "audio"))
    path, exp = root / "train.yaml", root / "exp"
    path.write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    data, dump = ("--data", root / "data"), ("--dump", root / "dump")
    for line in (
        ("fbank", "--config", ROOT / "egs/mini/conf/fbank.yaml", *data, *dump, "--train_config", path),
        ("tokens", "--config", path, *data, "--out", exp / "tokens"),
        ("train", "--config", path, *data, *dump, "--exp", exp, "--threads", 1),
    ):
        process = command(*line)
        assert process.returncode == 0, process.stderr
    return exp


def paused(tables: dict[str, dict[str, str]], out: Path) -> dict[str, dict[str, str]]:
    """The tables of recordings with quiet noise before and after them, which are written to a folder."""
    out.mkdir(exist_ok=True)
    tables_paused: dict[str, dict[str, str]] = {name: {} for name in tables}
    for utt, wav in tables["wav.scp"].items():
        wave, rate = read_audio(wav)
        for number, pause in enumerate(PAUSES):
            path, longer = out / f"{utt}-{number}.wav", np.concatenate([quiet(pause[0], rate), wave, quiet(pause[1], rate)])
            soundfile.write(path, longer, rate)
            for name, table in tables.items():
                if utt in table:
                    tables_paused[name][f"{utt}-{number}"] = table[utt]
            tables_paused["wav.scp"][f"{utt}-{number}"] = str(path)
            tables_paused["utt2dur"][f"{utt}-{number}"] = f"{len(longer) / rate:.3f}"
    return tables_paused


def quiet(seconds: float, rate: int = 16000) -> np.ndarray:
    """Faint noise, as between two sentences."""
    return (1e-4 * np.random.default_rng(0).standard_normal(round(seconds * rate))).astype(np.float32)


def trained_once(factory: pytest.TempPathFactory, mini_data: Path) -> Path:
    """The folder that holds exp and data, trained once per test run, also where several processes share the tests."""
    base = factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "trained"
    with lock(root.with_suffix(".lock"), wait=True):
        if not (root / "exp/model.pt").is_file():
            train(root, mini_data)
    return root
