"""Training and decoding as a user does them: one vocabulary for two languages, CTC and attention together, unknown languages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from m2asr.data.directory import read_table, speakers, write_table
from m2asr.train import checkpoint
from tests.conftest import ROOT, command

pytestmark = pytest.mark.slow

SETS = ["dev_en", "dev_it"]
MIXED = ["labelled", "unlabelled", "und"]
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
        process = command(*line)
        assert process.returncode == 0, process.stderr
    return "--exp", exp, "--data", mini_data, "--dump", dump


@pytest.fixture(scope="module")
def mixed(folders, mini_data: Path) -> tuple[object, ...]:
    """The options for sets of the first five English and Italian utterances: `labelled`, `unlabelled`, and `und`, of unknown language."""
    data, dump = (folders[1].parent / name for name in ("mixed_data", "mixed_dump"))
    for name in ("labelled", "unlabelled", "und"):
        for table in ("wav.scp", "utt2spk", "utt2lang", "utt2dur", *(["text"] if name == "labelled" else [])):
            rows = [row for set_name in SETS for row in list(read_table(mini_data / set_name / table).items())[:5]]
            write_table(data / name / table, [(utt, "und") for utt, _ in rows] if (name, table) == ("und", "utt2lang") else rows)
        write_table(data / name / "spk2utt", speakers(read_table(data / name / "utt2spk")))
    process = command("fbank", "--config", ROOT / "egs/mini/conf/fbank.yaml", "--data", data, "--dump", dump, *MIXED)
    assert process.returncode == 0, process.stderr
    return "--exp", folders[1], "--data", data, "--dump", dump


@pytest.fixture(scope="module")
def without_shared(mixed) -> tuple[object, ...]:
    """The same run and sets without the head that reads every language."""
    exp = mixed[1].parent / "without_shared"
    state = checkpoint.load(mixed[1] / "model.pt")
    del state["config"]["objectives"]["all"]
    state["model"] = {name: value for name, value in state["model"].items() if not name.startswith("objectives.all.")}
    checkpoint.write(exp / "model.pt", state)
    for name in ("tokens", "fbank.yaml"):
        (exp / name).symlink_to(mixed[1] / name)
    return "--exp", exp, *mixed[2:]


def decode(folders, name: str, *changes: str, sets=SETS):
    path = folders[1].parent / "decode.yaml"
    path.write_text("{}")
    settings = [f"name={name}", "beam=3", "max_ratio=0.5", *changes]
    return command("decode", *sets, "--config", path, "--set", *settings, *folders)


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
    process = decode(folders, method, f"method={method}")
    assert process.returncode == 0, process.stderr
    infos = decoded(folders, method)
    expected = {("dev_en", f"{lead}_en"), ("dev_it", f"{lead}_it"), ("dev_it", "st_it_en"), ("dev_en", "all"), ("dev_it", "all")}
    assert infos.keys() == expected
    assert infos["dev_it", f"{lead}_it"]["language"] == "oracle" and infos["dev_it", "all"]["language"] == "predicted"
    for name, key in expected:
        assert read_table(folders[1] / f"decode_{method}" / name / key / "text").keys() == read_table(folders[3] / name / "text").keys()
    assert (infos["dev_it", f"{lead}_it"]["unrepresentable"] is None) == (method == "attention")


def test_unknown_languages(folders):
    process = decode(folders, "unknown", "language=predicted")
    assert process.returncode == 0 and "language wrong for" in process.stdout, process.stderr
    infos = decoded(folders, "unknown")
    assert {info["language"] for info in infos.values()} == {"predicted"}
    wrong = [infos[name, "all"]["language_error"] for name in SETS]
    assert all(0 <= share <= 1 for share in wrong)
    process = command("score", "--exp", folders[1], "--decode", "unknown", "--data", folders[3], "--recipe", "mini")
    assert process.returncode == 0 and "recognized by the system; wrong for: dev_en" in process.stdout, process.stderr
    rows = json.loads((folders[1] / "results.json").read_text())["rows"]
    assert all(row["language"] == "predicted" and row["language_error"] in wrong for row in rows if row["set"] != "mean")


def test_recordings_of_unknown_language_without_text(mixed):
    """Every head answers for every utterance, in its own language or not; what has references is scored, per language as well."""
    process = decode(mixed, "mixed", "language=predicted", "method=attention", sets=MIXED)
    assert process.returncode == 0, process.stderr
    infos = decoded(mixed, "mixed")
    assert infos.keys() == {(name, key) for name in MIXED for key in ("all", "asr_by_language", "st_en_by_language")}
    texts = {}
    for name, key in infos:
        out, utts = mixed[1] / "decode_mixed" / name / key, read_table(mixed[3] / name / "utt2spk").keys()
        texts[name, key], spoken = read_table(out / "text"), read_table(out / "utt2lang")
        assert texts[name, key].keys() == spoken.keys() == utts and set(spoken.values()) <= {"en", "it"}
        assert ("language_error" in infos[name, key]) == (name != "und")  # there is no language to be wrong about
    assert any(texts["und", "asr_by_language"].values())
    assert all(texts["und", key] == texts["labelled", key] for key in ("all", "asr_by_language"))

    process = command("score", "--exp", mixed[1], "--decode", "mixed", "--data", mixed[3], "--recipe", "mini")
    assert process.returncode == 0, process.stderr
    assert f"und all: not scored, since {mixed[3]}/und/text has no references" in process.stdout
    rows = json.loads((mixed[1] / "results.json").read_text())["rows"]
    assert {(row["set"], row["objective"], row["lang"]) for row in rows} == {
        ("labelled", "all", "en+it"),
        ("labelled", "asr_by_language", "en+it"),
    }
    for row in rows:
        assert list(row["groups"]) == ["en", "it"]
        assert sum(group["ref_tokens"] for group in row["groups"].values()) == row["ref_tokens"]


def test_known_languages_without_text(folders, mixed, without_shared):
    """The head of its own language reads an utterance in whatever set it stands."""
    for options, sets in ((without_shared, ["unlabelled"]), (folders, SETS)):
        process = decode(options, "known", "method=attention", sets=sets)
        assert process.returncode == 0 and "warning" not in process.stderr, process.stderr
    infos = decoded(without_shared, "known")
    assert infos.keys() == {("unlabelled", "asr_by_language"), ("unlabelled", "st_en_by_language")}
    assert {info["language"] for info in infos.values()} == {"oracle"}
    expected = {}
    for name, key in zip(SETS, ("att_en", "att_it"), strict=True):
        expected |= read_table(folders[1] / "decode_known" / name / key / "text")
    texts = read_table(without_shared[1] / "decode_known/unlabelled/asr_by_language/text")
    assert len(texts) == 10 and texts == {utt: expected[utt] for utt in texts} and any(texts.values())
    translated = read_table(without_shared[1] / "decode_known/unlabelled/st_en_by_language/text")
    langs = read_table(mixed[3] / "unlabelled/utt2lang")
    assert all(translated[utt] == "" for utt, lang in langs.items() if lang == "en")  # only Italian is translated
    process = command("score", "--exp", without_shared[1], "--decode", "known", "--data", mixed[3])
    assert process.returncode == 0 and "No decoded set has references." in process.stdout, process.stderr


def test_languages_without_a_head_are_told_in_one_line(without_shared):
    message = "no head reads und (und); there are heads for en, it; with `language: predicted` in the decode config"
    process = decode(without_shared, "told", sets=["und"])
    assert process.returncode == 1 and f"nothing decoded: {message}" in process.stderr and process.stderr.count("\n") == 1
    process = decode(without_shared, "told", sets=["und", "unlabelled"])
    assert process.returncode == 0 and f"warning: {message}" in process.stderr and process.stderr.count("\n") == 1
    assert {name for name, _ in decoded(without_shared, "told")} == {"unlabelled"}


def test_no_langid_is_told_in_one_line(folders, tmp_path):
    process = decode(folders, "wrong", "language=guessed")
    assert process.returncode == 1 and "'oracle' or 'predicted'" in process.stderr and process.stderr.count("\n") == 1
