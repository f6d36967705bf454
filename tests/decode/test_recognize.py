"""Training and decoding as a user does them: one vocabulary for two languages, CTC and attention together, unknown languages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from m2asr.data.directory import read_table
from tests.conftest import ROOT, command

pytestmark = pytest.mark.slow

SETS = ["dev_en", "dev_it"]
CONFIG = {
    "model": {
        "encoder": {"type": "conformer", "blocks": 1, "dim": 32, "heads": 2, "kernel": 7, "subsampling": "dwconv"},
        "decoders": {"main": {"type": "transformer", "blocks": 1, "dim": 16, "heads": 2}},
    },
    "streams": {
        "en": {"sets": ["dev_en"], "lang": "en"},
        "it": {"sets": ["dev_it"], "dev": ["dev_it"], "lang": "it"},
        "all": {"sets": SETS, "dev": SETS},
    },
    "tokens": {
        "en_it": {"type": "unigram", "size": 80, "sets": SETS},
        "en_cased": {"type": "char", "sets": ["dev_it"], "text": "text.en"},
    },
    "objectives": {
        "asr_en": {"type": "ctc", "stream": "en", "tokens": "en_it"},
        "asr_it": {"type": "ctc", "stream": "it", "tokens": "en_it"},
        "att_en": {"type": "attention", "stream": "en", "tokens": "en_it", "decoder": "main", "prefix": "en"},
        "att_it": {"type": "attention", "stream": "it", "tokens": "en_it", "decoder": "main", "prefix": "it"},
        "st_it_en": {"type": "ctc", "stream": "it", "tokens": "en_cased", "text": "text.en"},
        "all": {"type": "ctc", "stream": "all", "tokens": "en_it"},
        "lid": {"type": "langid", "stream": "all"},
    },
    "batching": {"seconds": 240, "buckets": 2},
    "train": {"epochs": 1, "epoch_of": "all", "precision": "float32", "workers": 0},
}


@pytest.fixture(scope="module")
def folders(mini_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """The options --exp, --data and --dump of a trained run."""
    root = tmp_path_factory.mktemp("multilingual")
    path, dump, exp = root / "train.yaml", root / "dump", root / "exp"
    path.write_text(yaml.safe_dump(CONFIG))
    for line in (
        ("fbank", "--config", ROOT / "egs/mini/conf/fbank.yaml", "--data", mini_data, "--dump", dump, *SETS),
        ("tokens", "--config", path, "--data", mini_data, "--out", exp / "tokens"),
        ("train", "--config", path, "--data", mini_data, "--dump", dump, "--exp", exp, "--threads", 1),
    ):
        done = command(*line)
        assert done.returncode == 0, done.stderr
    return "--exp", exp, "--data", mini_data, "--dump", dump


def decode(folders, name: str, *changes: str):
    path = folders[1].parent / "decode.yaml"
    path.write_text("{}")
    settings = [f"name={name}", "beam=3", "max_ratio=0.5", *changes]
    return command("decode", *SETS, "--config", path, "--set", *settings, *folders)


def decoded(folders, name: str) -> dict[tuple[str, str], dict]:
    paths = (folders[1] / f"decode_{name}").glob("*/*/info.json")
    return {(path.parts[-3], path.parts[-2]): json.loads(path.read_text()) for path in paths}


def test_training_stores_languages_and_metrics(folders):
    config = yaml.safe_load((folders[1] / "config.yaml").read_text())
    assert config["objectives"]["lid"]["languages"] == ["en", "it"]
    lines = [json.loads(line) for line in (folders[1] / "train.jsonl").read_text().splitlines()]
    metrics = next(line["metrics"] for line in lines if line["kind"] == "dev")
    assert {"accuracy", "error"} <= metrics["att_it"].keys() and {"accuracy", "error"} <= metrics["lid"].keys()
    assert metrics["all"]["error"] > 0  # one CTC head on a stream of two languages


@pytest.mark.parametrize("method, lead", [("prefix_beam", "asr"), ("attention", "att"), ("joint", "att")])
def test_every_method_decodes_every_target_once(folders, method, lead):
    done = decode(folders, method, f"method={method}")
    assert done.returncode == 0, done.stderr
    found = decoded(folders, method)
    expected = {("dev_en", f"{lead}_en"), ("dev_it", f"{lead}_it"), ("dev_it", "st_it_en"), ("dev_en", "all"), ("dev_it", "all")}
    assert found.keys() == expected
    assert found["dev_it", f"{lead}_it"]["language"] == "oracle" and found["dev_it", "all"]["language"] == "predicted"
    for name, key in expected:
        assert read_table(folders[1] / f"decode_{method}" / name / key / "text").keys() == read_table(folders[3] / name / "text").keys()
    assert (found["dev_it", f"{lead}_it"]["unrepresentable"] is None) == (method == "attention")


def test_unknown_languages(folders):
    done = decode(folders, "unknown", "language=predicted")
    assert done.returncode == 0 and "language wrong for" in done.stdout, done.stderr
    found = decoded(folders, "unknown")
    assert {one["language"] for one in found.values()} == {"predicted"}
    wrong = [found[name, "all"]["language_error"] for name in SETS]
    assert all(0 <= share <= 1 for share in wrong)
    done = command("score", "--exp", folders[1], "--decode", "unknown", "--data", folders[3], "--recipe", "mini")
    assert done.returncode == 0 and "recognized by the system; wrong for: dev_en" in done.stdout, done.stderr
    rows = json.loads((folders[1] / "results.json").read_text())["rows"]
    assert all(row["language"] == "predicted" and row["language_error"] in wrong for row in rows if row["set"] != "mean")


def test_no_langid_is_told_in_one_line(folders, tmp_path):
    done = decode(folders, "wrong", "language=guessed")
    assert done.returncode == 1 and "'oracle' or 'predicted'" in done.stderr and done.stderr.count("\n") == 1
