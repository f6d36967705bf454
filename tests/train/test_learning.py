"""Learning from real speech: 190 steps must teach a small model a part of English."""

from __future__ import annotations

import json
from pathlib import Path

from tests.train import recipe

CONFIG = {
    "model": {
        "encoder": {"type": "conformer", "blocks": 2, "dim": 96, "heads": 4, "kernel": 15, "subsampling": "windows", "dropout": 0.0},
        "specaugment": None,
    },
    "streams": {"en": {"sets": ["train_en"], "dev": ["dev_en"], "lang": "en"}},
    "tokens": {"en": {"type": "char", "sets": ["train_en"]}},
    "objectives": {"asr_en": {"type": "ctc", "stream": "en", "tokens": "en"}},
    "batching": {"seconds": 30, "buckets": 8},
    "optim": {"type": "muon", "lr": {"backbone": 3.0e-3, "heads": 3.0e-3}, "warmup_steps": 20},
    "train": {"epochs": 5, "precision": "float32", "seed": 1, "average_best": 1, "eval_every": 1, "workers": 1},
}


def test_a_small_model_learns(mini_data: Path, mini_dump: Path, tmp_path: Path):
    exp = tmp_path / "exp"
    config = recipe.prepare(exp, mini_data, CONFIG)
    done = recipe.train(exp, config, mini_data, mini_dump)
    assert done.returncode == 0, done.stderr
    dev = [json.loads(line) for line in (exp / "train.jsonl").read_text().splitlines() if '"dev"' in line]
    assert dev[-1]["metrics"]["asr_en"]["error"] < 0.6  # characters; a model that writes nothing has 1.0
