from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from m2asr.config import FbankConfig, dump_config
from m2asr.data.directory import read_table
from m2asr.decode.trained import Trained
from m2asr.objectives.build import build_system, resolve
from m2asr.text.tokenizer import train_tokenizer
from m2asr.train import checkpoint
from m2asr.train_config import TrainConfig
from tests.conftest import ROOT, command

SETS = {"dev_en": 10, "dev_it": 10, "test_en": 5, "test_it": 5}  # utterances
DECODER = {"type": "transformer", "blocks": 1, "dim": 16, "heads": 2}
CONFIG = {
    "model": {"encoder": {"type": "conformer", "blocks": 1, "dim": 32, "heads": 2, "kernel": 7, "subsampling": "dwconv"}},
    "streams": {
        "en": {"sets": ["dev_en"], "dev": ["dev_en"], "lang": "en"},
        "it": {"sets": ["dev_it"], "dev": ["dev_it"], "lang": "it"},
    },
    "tokens": {
        "en": {"type": "char", "sets": ["dev_en"]},
        "it": {"type": "unigram", "size": 40, "sets": ["dev_it"]},
        "en_cased": {"type": "char", "sets": ["dev_it"], "text": "text.en"},
    },
    "objectives": {
        "asr_en": {"type": "ctc", "stream": "en", "tokens": "en"},
        "asr_it": {"type": "ctc", "stream": "it", "tokens": "it"},
        "att_it": {"type": "attention", "stream": "it", "tokens": "it", "decoder": DECODER},
        "st_it_en": {"type": "ctc", "stream": "it", "tokens": "en_cased", "text": "text.en"},
    },
}


class Run(NamedTuple):
    """The folders of a run."""

    exp: Path
    data: Path
    dump: Path

    def load(self) -> Trained:
        return Trained.load(self.exp, self.data, self.dump, "cpu")

    def options(self) -> tuple[object, ...]:
        return "--exp", self.exp, "--data", self.data, "--dump", self.dump


@pytest.fixture(scope="session")
def untrained(mini_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run over a few utterances of the mini corpus whose weights are as they begin; not to be changed."""
    root = tmp_path_factory.mktemp("untrained")
    run = Run(root / "exp", root / "data", root / "dump")
    for name, count in SETS.items():
        process = command("subset_data_dir", "--first", count, mini_data / name, run.data / name)
        assert process.returncode == 0, process.stderr
    process = command("fbank", "--config", ROOT / "egs/mini/conf/fbank.yaml", "--data", run.data, "--dump", run.dump, *SETS)
    assert process.returncode == 0, process.stderr
    config, sizes = resolve(TrainConfig.model_validate(CONFIG)), {}
    for name, tokens in config.tokens.items():
        texts = [text for set_name in tokens.sets for text in read_table(mini_data / set_name / tokens.text).values()]
        sizes[name] = train_tokenizer(tokens.type, tokens.size, texts, run.exp / "tokens" / name).size
    torch.manual_seed(1)
    system = build_system(config, sizes, feat_dim=80)
    (run.exp / "fbank.yaml").write_text(dump_config(FbankConfig()))
    checkpoint.write(run.exp / "model.pt", {"config": config.model_dump(), "model": system.state_dict()})
    return run


@pytest.fixture
def run(untrained: Run, tmp_path: Path) -> Run:
    """A copy of such a run that a test may change."""
    return Run(*(Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in untrained))
