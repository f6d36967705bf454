from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

from m2asr.data.streams import eval_batches
from m2asr.objectives.build import build_system, resolve
from m2asr.text.tokenizer import Tokenizer
from m2asr.train import checkpoint
from m2asr.train.initialize import load_trained
from m2asr.train.materials import gather
from m2asr.train_config import TrainConfig
from tests.decode.conftest import CONFIG, Run, untrained  # noqa: F401 - a fixture
from tools import bench_pruning


@pytest.fixture
def run(untrained: Run, tmp_path: Path) -> Run:  # noqa: F811
    """The untrained run with a transducer of English alone, whose loss is pruned."""
    run = Run(*(Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in untrained))
    texts, join = {"type": "lstm_predictor", "layers": 1, "dim": 16}, {"type": "joiner", "dim": 16}
    asr = {"type": "transducer", "stream": "en", "tokens": "en", "predictor": "texts", "joiner": "join", "prune": 5}
    parts = {key: {"en": CONFIG[key]["en"]} for key in ("streams", "tokens")}
    parts |= {"model": {**CONFIG["model"], "texts": texts, "join": join}, "objectives": {"asr": asr}}
    config = resolve(TrainConfig.model_validate(parts))
    torch.manual_seed(1)
    system = build_system(config, {"en": Tokenizer.load(run.exp / "tokens/en").size}, feat_dim=80)
    checkpoint.write(run.exp / "model.pt", {"config": config.model_dump(), "model": system.state_dict()})
    return run


def test_prints_the_loss_in_every_band(run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(Path.cwd())  # to which the test comes back
    monkeypatch.setattr(sys, "argv", ["bench_pruning.py", "--recipe", str(run.exp.parent), "--exp", "exp"])
    bench_pruning.main()
    head, *bands = capsys.readouterr().out.splitlines()
    exact = float(re.match(r"asr: exact loss ([\d.]+) per token, greedy error [\d.]+ %$", head)[1])
    assert [int(re.match(r"  a band of (\d+): ", band)[1]) for band in bands] == list(bench_pruning.WIDTHS)
    for band in bands:
        loss, ratio = (float(number) for number in re.search(r": ([\d.]+), ([\d.]+) of the exact loss", band).groups())
        assert ratio >= 1 and loss == pytest.approx(ratio * exact, rel=1e-3)  # a band holds some of the alignments
    assert re.search(r"\(at most 1.02: (ok|MISSED)\)$", bands[bench_pruning.WIDTHS.index(5)])


def test_a_band_over_the_whole_text_has_the_exact_loss(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.exp.parent)
    config, system, _ = load_trained(run.exp)
    head = system.objectives["asr"]
    batch = next(eval_batches(gather(config, run.data, run.dump, run.exp).dev["en"], 20.0))
    system.prepare(batch, ["asr"])
    (view, tap), share = head.reads[0], batch.shares["asr"]
    with torch.inference_mode():
        encoded = {view: system.encode(batch, view, {tap})}
        losses = bench_pruning.band_losses(head, encoded, share, (None, 2, 1000))
        assert losses[1000] == pytest.approx(losses[None], rel=1e-5) and losses[2] > losses[None]
        assert (head.prune, head.prune_weight) == (5, 0.5)


def test_a_folder_without_a_run_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(Path.cwd())
    monkeypatch.setattr(sys, "argv", ["bench_pruning.py", "--recipe", str(tmp_path), "--exp", "none"])
    bench_pruning.main()
    assert "skipped" in capsys.readouterr().out
