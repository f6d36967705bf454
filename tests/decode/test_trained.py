"""A trained run as decoding reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from m2asr.config import FbankConfig, dump_config
from m2asr.errors import UserError
from m2asr.objectives.build import build_system, resolve
from m2asr.text.tokenizer import train_tokenizer
from m2asr.train import checkpoint
from m2asr.train.initialize import load_trained
from m2asr.train_config import TrainConfig

FINE = FbankConfig(frame_shift=5.0, frame_length=20.0)
PREDICT = {"type": "cpc", "stream": "x", "level": "lower", "context": 0.05, "future": 0.1}  # 50 ms: a state sees 35


def trained(exp: Path) -> Path:
    """A run with random weights whose features are computed every 5 ms."""
    config = resolve(
        TrainConfig.model_validate(
            {
                "model": {"encoder": {"type": "conformer", "blocks": 1, "dim": 16, "heads": 2, "kernel": 3}},
                "streams": {"x": {"sets": ["x"]}},
                "tokens": {"t": {"type": "char", "sets": ["x"]}},
                "objectives": {"asr": {"type": "ctc", "stream": "x", "tokens": "t"}, "cpc": PREDICT},
                "penalty": {},
            }
        )
    )
    vocab = {"t": train_tokenizer("char", None, ["abc de"], exp / "tokens/t").size}
    system = build_system(config, vocab, 80, FINE.frame_shift, FINE.frame_length)
    checkpoint.write(exp / "model.pt", {"model": system.state_dict(), "config": config.model_dump(mode="json")})
    (exp / "fbank.yaml").write_text(dump_config(FINE))
    return exp


def test_the_system_has_the_geometry_of_the_run(tmp_path: Path) -> None:
    exp = trained(tmp_path)
    config, system, _ = load_trained(exp)
    expected = build_system(config, {"t": system.objectives["asr"].output.out_features}, 80, FINE.frame_shift, FINE.frame_length)
    assert system.objectives["cpc"].views == expected.objectives["cpc"].views
    assert all(torch.equal(value, checkpoint.load(exp / "model.pt")["model"][name]) for name, value in system.state_dict().items())


def test_a_run_that_does_not_tell_its_geometry_is_named(tmp_path: Path) -> None:
    (trained(tmp_path) / "fbank.yaml").unlink()
    with pytest.raises(UserError, match=r"fbank.yaml: no such file, an older run did not write it; copy"):
        load_trained(tmp_path)
