"""All stages of the mini recipe, on its real speech with a model that is too small to learn much."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import pytest
import torch
import yaml

from tests.recipes.recipe import ROOT, Copied, cpu_seconds

pytestmark = pytest.mark.recipes

STAGES = ["0.data", "1.fbank", "1.texts", "2.tokens", "2.lm", "3.pretrain", "4.train", "5.decode", "6.score"]
SMALL = (
    "model.encoder.blocks=1 model.encoder.dim=16 model.encoder.heads=2 batching.seconds=240 "
    "train.hours=null train.epochs=2 train.eval_every=1 train.average_best=1 train.log_every=1 train.save_every=3 train.precision=float32"
)


class Mini(Copied):
    """A copy of egs/mini with a link to its corpus."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, "mini")
        (self.folder / "corpus").symlink_to(ROOT / "egs/mini/corpus")
        self.exp = self.folder / "exp/train_m2asr"


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Mini:
    """The recipe after all its stages."""
    mini = Mini(tmp_path_factory.mktemp("mini"))
    result = mini.run("--set", SMALL, timeout=1200)
    assert result.returncode == 0, result.stdout + result.stderr
    return mini


def test_all_stages_leave_their_results(mini: Mini) -> None:
    for name in STAGES:
        assert (mini.exp / "log" / f"{name}.log").stat().st_size > 0
    for name in ("config.yaml", "model.pt", "checkpoints", "tensorboard", "plots", "train.jsonl", "RESULTS.md", "tokens/en/tokens.txt"):
        assert (mini.exp / name).exists(), name
    rows = json.loads((mini.exp / "results.json").read_text())["rows"]
    scores = {(row["set"], row["metric"]) for row in rows}
    assert {(f"test_{lang}", metric) for lang in ("en", "it", "ru") for metric in ("wer", "cer")} <= scores
    assert {(f"test_{lang}", metric) for lang in ("it", "ru") for metric in ("bleu", "chrf")} <= scores
    by_search = [{(row["set"], row["task"], row["metric"]) for row in rows if row["search"] == search} for search in ("greedy", "lm")]
    assert by_search[0] == by_search[1] and {row["search"] for row in rows} == {"greedy", "lm"}
    text = (mini.exp / "RESULTS.md").read_text()
    assert all(re.search(rf"^\| {search} \| [a-z ]+ \| mean \|", text, re.MULTILINE) for search in ("greedy", "lm"))
    assert {path.parent.name for path in mini.exp.glob("lm/lm/*/lm.bin")} == {"en", "it", "ru", "en_cased"}
    assert len(list(mini.exp.glob("decode_lm/tuning.*.tsv"))) == 5


def test_a_second_run_does_nothing(mini: Mini) -> None:
    before = mini.written()
    start = cpu_seconds()
    result = mini.run("--set", SMALL)
    assert result.returncode == 0 and result.stdout.count("skipped") == len(STAGES), result.stdout
    assert cpu_seconds() - start < 2
    assert mini.written() == before


def test_killed_training_goes_on_and_ends_the_same(mini: Mini) -> None:
    options = ("--set", SMALL, "--tag", "killed")
    assert mini.run(*options, "--stop_stage", "pretrain", timeout=600).returncode == 0
    for number in (signal.SIGKILL, signal.SIGINT):
        process = mini.start(*options, "--stop_stage", "train")
        last = mini.folder / "exp/killed/checkpoints/last.pt"
        old = last.stat().st_mtime_ns if last.exists() else 0
        end = time.monotonic() + 600
        while process.poll() is None and not (last.exists() and last.stat().st_mtime_ns > old):
            assert time.monotonic() < end
            time.sleep(0.05)
        result = mini.stop(process, number)
        assert result.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130), result.stdout + result.stderr
    assert not (mini.folder / "exp/killed/model.pt").exists()
    result = mini.run(*options, timeout=1200)
    assert result.returncode == 0 and "going on after step" in result.stdout, result.stdout + result.stderr
    expected, killed = (torch.load(mini.folder / "exp" / tag / "model.pt", weights_only=True) for tag in ("train_m2asr", "killed"))
    assert expected["model"].keys() == killed["model"].keys()
    assert all(torch.equal(expected["model"][name], killed["model"][name]) for name in expected["model"])


def test_pretraining_starts_the_baseline(mini: Mini) -> None:
    config = yaml.safe_load((mini.folder / "conf/pretrain_cpc.yaml").read_text())
    config["model"]["encoder"] |= {"blocks": 1, "dim": 16, "heads": 2}
    config["train"] |= {"hours": None, "epochs": 1, "precision": "float32"}
    (mini.folder / "conf/small_cpc.yaml").write_text(yaml.safe_dump(config))
    configs = ("--pretrain_config", "conf/small_cpc.yaml", "--train_config", "conf/train_supervised.yaml")
    result = mini.run(*configs, "--set", SMALL, timeout=1200)
    assert result.returncode == 0, result.stdout + result.stderr
    exp = mini.folder / "exp/train_supervised"
    assert (exp / "pretrain/model.pt").exists() and "pretrain/model.pt" in (exp / "log/4.train.log").read_text().split("\n", 4)[4]
    rows = json.loads((exp / "results.json").read_text())["rows"]
    assert {row["metric"] for row in rows} == {"wer", "cer"}


def test_attention_translates(mini: Mini) -> None:
    small = f"{SMALL} model.decoders.english.blocks=1 model.decoders.english.dim=16 train.epochs=1"
    configs = ("--train_config", "conf/train_s2tt.yaml", "--decode_config", "conf/decode_beam.yaml")
    result = mini.run(*configs, "--set", small, timeout=1200)
    assert result.returncode == 0, result.stdout + result.stderr
    exp = mini.folder / "exp/train_s2tt"
    rows = json.loads((exp / "results.json").read_text())["rows"]
    assert {row["metric"] for row in rows} == {"wer", "cer", "bleu", "chrf"}
    assert all(row["unrepresentable"] is None for row in rows if row["metric"] == "chrf")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--corpus", "/nowhere"], 1, ["--corpus /nowhere"]),
        (["--train_config", "conf/none.yaml"], 2, ["--train_config conf/none.yaml", "conf/train_m2asr.yaml"]),
        (["--stage", "tokens", "--set", "train.epochz=1"], 1, ["train.epochz", "`epochs`"]),
        (["--stage", "score", "--tag", "fresh"], 1, ["--stage decode"]),
        (["--stage", "train", "--tag", "fresh"], 1, ["--stage tokens"]),
    ],
)
def test_a_mistake_fails_at_once_and_loses_nothing(mini: Mini, options: list[str], code: int, words: list[str]) -> None:
    results = {path: stamp for path, stamp in mini.written().items() if "log" not in path.parts and not path.name.endswith(".done")}
    start = cpu_seconds()
    result = mini.run(*options)
    assert cpu_seconds() - start < 1
    assert result.returncode == code and all(word in result.stderr for word in words), result.stderr
    assert results.items() <= mini.written().items()
