"""All stages of every recipe of a public corpus, on a small copy of the corpus with a model that is too small to learn."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from m2asr.bin import experts
from m2asr.corpora.mls import LANGUAGES
from m2asr.data.directory import read_table
from tests.conftest import command
from tests.corpora import trees
from tests.recipes.recipe import ROOT, Copied, cpu_seconds
from tests.recipes.tiny import write_tiny

pytestmark = pytest.mark.recipes

STAGES = ["0.data", "1.fbank", "1.texts", "2.tokens", "2.lm", "3.pretrain", "4.train", "5.decode", "6.score"]
INSIDE = {  # stage: it is killed when it is about to rename a file or folder to this path, for this time
    "0 data": (r"^data/\w+$", 2),  # sets
    "1 fbank": (r"^dump/\..+\.tmp/utt2num_frames$", 1),  # the features are there
    "2 tokens": (r"/tokens/.*/tokenizer\.yaml$", 1),
    "2 lm": (r"/lm/lm/.*/lm\.bin$", 1),
    "3 pretrain": (r"/pretrain/checkpoints/last\.pt$", 2),
    "4 train": (r"/checkpoints/last\.pt$", 2),
    "5 decode": (r"/test_clean/\w+/info\.json$", 1),
    "6 score": (r"/RESULTS\.md$", 1),
}
LIBRISPEECH = ("train-clean-100", "dev-clean", "dev-other", "test-clean")
EUROPEAN = ("fr", "de", "es", "ca")


class Walk(NamedTuple):
    """How the stages of a recipe are run, and the results that are expected.

    corpora: makes the corpora in a folder; returns the options that name them.
    config: the training config.
    scores: the metrics of each test set.
    utterances: the number of utterances of some sets.
    texts: all texts of some files, in any order.
    message: a text in the output.
    further: further options.
    decode, pretrain: the config of the search and of the pretraining.
    """

    corpora: Callable[[Path], dict[str, Path]]
    config: str
    scores: dict[str, set[str]]
    utterances: dict[str, int]
    texts: dict[str, list[str]]
    message: str = ""
    further: tuple[str, ...] = ()
    decode: str = ""
    pretrain: str = ""


def _m2asr(folder: Path) -> dict[str, Path]:
    parts = ("train-clean-100", "train-clean-360", "train-other-500", "dev-clean", "test-clean")
    return {
        "--librispeech": trees.librispeech(folder, parts),
        "--aishell": trees.aishell1(folder),
        "--covost": trees.covost2(folder, EUROPEAN),
    }


def _mls(folder: Path) -> Path:
    for language in ("italian", "portuguese", "polish"):
        trees.mls(folder, ".opus", language)
    return folder


def spoken(numbers: Iterable[int], lang: str = "en") -> list[str]:
    """The texts of prompts as recognition writes them: lower-case letters, without punctuation and figures."""
    texts = [re.sub(r"[.…]", "", trees.said(number, lang).lower().replace("-", " ")) for number in numbers]
    assert all(word.isalpha() for text in texts for word in text.split())
    return texts


CHINESE = [text.replace(" ", "").replace("２５", "二十五") for text in trees.CHINESE]
GREETING = 'Hallo, "Welt" en!'
ASR, UNSPACED, ST = {"wer", "cer"}, {"cer"}, {"bleu", "chrf"}
RESAMPLED = "resampled from 48000 Hz to 16000 Hz"
WALKS = {
    "librispeech": Walk(
        lambda folder: {"--corpus": trees.librispeech(folder, LIBRISPEECH)},
        "train_bljust",
        {"test_clean": ASR},
        {"train_clean_100": 6, "dev_other": 6, "test_clean": 6},
        {"train_clean_100/text": spoken([0, 1] * 3), "test_clean/text": spoken([6, 7] * 3)},
        "data/test_other: not prepared, left out",
        pretrain="pretrain_cpc",
    ),
    "aishell": Walk(
        lambda folder: {"--corpus": trees.aishell1(folder)},
        "train_bljust",
        {"test": UNSPACED},
        {"train": 4, "dev": 2, "test": 2},
        {"test/text": CHINESE[:2]},
    ),
    "covost2": Walk(
        lambda folder: {"--corpus": trees.covost2(folder, EUROPEAN)},
        "train_s2tt",
        {f"test_{lang}": ASR | ST for lang in EUROPEAN},
        {f"{part}_{lang}": number for lang in EUROPEAN for part, number in (("train", 2), ("dev", 1), ("test", 2))},
        {"test_fr/text": spoken([6, 7], "it"), "test_fr/text.en": [GREETING] * 2},
        RESAMPLED,
        decode="conf/decode_attention.yaml",
        pretrain="pretrain_cpc",
    ),
    "m2asr": Walk(
        _m2asr,
        "train_m2asr",
        {"test_clean": ASR, "test_zh": UNSPACED} | {f"test_{lang}": ST for lang in EUROPEAN},
        {"train_clean_100": 6, "train_other_500": 6, "train_zh": 4, "test_zh": 2, "train_ca": 2},
        {"test_clean/text": spoken([8, 9] * 3), "test_zh/text": CHINESE[:2], "train_ca/text.en": [GREETING] * 2},
        RESAMPLED,
    ),
    "mls": Walk(
        lambda folder: {"--corpus": _mls(folder)},
        "train_m2asr",
        {f"test_{lang}": ASR for lang in ("it", "pt", "pl")},
        {"train_it": 16, "train_9h_pl": 3, "test_pt": 2},
        {"test_pt/text": spoken([2, 3], "it"), "train_9h_pl/text": spoken([2, 3, 4], "it")},
    ),
    "tedlium2": Walk(
        lambda folder: {"--corpus": trees.tedlium2(folder)},
        "train_bljust",
        {"dev": ASR, "test": ASR},
        {"train": 3, "dev": 3, "test": 3},
        {"test/text": ["all circuits are busy now", "it's call forward unconditional", "i'm sure you don't forward"]},
    ),
    "aishell2": Walk(
        lambda folder: {"--corpus": trees.aishell2(folder)},
        "train_supervised",
        {"test_ios": UNSPACED, "test_android": UNSPACED},
        {"train": 4, "dev_ios": 4, "test_android": 4},
        {"test_android/text": CHINESE},
        "data/test_mic: not prepared, left out",
        further=("--set", "features.source=audio streams.zh.speeds=[0.9,1.0,1.1]"),
    ),
    "wenetspeech": Walk(
        lambda folder: {"--corpus": trees.wenetspeech(folder)},
        "train_bljust",
        {"dev": UNSPACED, "test_net": UNSPACED, "test_meeting": UNSPACED},
        {"train_l": 7, "train_m": 2, "train_s": 1, "dev": 3},
        {"dev/text": [CHINESE[2], CHINESE[3], CHINESE[2]]},
    ),
    "TEMPLATE": Walk(
        lambda folder: {"--corpus": trees.own(folder)},
        "train_supervised",
        {"test": ASR},
        {"train": 8, "dev": 3, "test": 3},
        {"test/text": spoken([13, 14, 15], "it"), "train/text.en": [trees.said(number) for number in range(2, 10)]},
    ),
}


class Walked(Copied):
    """A recipe with its small corpora and configs; `options` are those of every run."""

    def __init__(self, root: Path, name: str) -> None:
        super().__init__(root, name)
        self.walk = walk = WALKS[name]
        conf = self.folder / "conf"
        self.options = [word for option, path in walk.corpora(root / "corpora").items() for word in (option, str(path))]
        self.options += ["--train_config", write_tiny(conf, walk.config), "--nj", "1", *walk.further]
        if walk.pretrain:
            self.options += ["--pretrain_config", write_tiny(conf, walk.pretrain, epochs=2)]
        if walk.decode:
            self.options += ["--decode_config", walk.decode]

    def exp(self, tag: str = "walk") -> Path:
        """The folder of a run."""
        return self.folder / "exp" / tag


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def hypotheses(exp: Path) -> dict[str, str]:
    return {str(path.relative_to(exp)): path.read_text(encoding="utf-8") for path in exp.glob("decode_*/*/*/text")}


@pytest.fixture(scope="module")
def m2asr(tmp_path_factory: pytest.TempPathFactory) -> Walked:
    return walked(tmp_path_factory.mktemp("m2asr"), "m2asr")


@pytest.fixture(scope="module")
def librispeech(tmp_path_factory: pytest.TempPathFactory) -> Walked:
    return walked(tmp_path_factory.mktemp("librispeech"), "librispeech")


def walked(root: Path, name: str) -> Walked:
    """A recipe after all its stages."""
    recipe = Walked(root, name)
    result = recipe.run(*recipe.options, "--tag", "walk", timeout=1200)
    assert result.returncode == 0, result.stdout + result.stderr
    assert recipe.walk.message in result.stdout
    return recipe


def check(recipe: Walked) -> None:
    """The results of all stages are there, and a second run does nothing."""
    walk, exp = recipe.walk, recipe.exp()
    for name, number in walk.utterances.items():
        assert len(lines(recipe.folder / "data" / name / "utt2spk")) == number, name
    for path, texts in walk.texts.items():
        assert sorted(read_table(recipe.folder / "data" / path).values()) == sorted(texts), path
    assert (exp / "pretrain/model.pt").exists() == bool(walk.pretrain)
    for name in STAGES:
        assert (exp / "log" / f"{name}.log").stat().st_size > 0
    for name in ("config.yaml", "model.pt", "plots", "train.jsonl", "tensorboard", "RESULTS.md"):
        assert (exp / name).exists(), name
    rows = json.loads((exp / "results.json").read_text(encoding="utf-8"))["rows"]
    scores: dict[str, set[str]] = {}
    for row in rows:
        if row["set"] != "mean":
            scores.setdefault(row["set"], set()).add(row["metric"])
    assert scores == walk.scores
    searches = {path.name.removeprefix("decode_") for path in exp.glob("decode_*")}
    assert {row["search"] for row in rows} == searches and len(searches) == 1 + ("lm" in searches) == 2 - bool(walk.decode)
    for path, text in hypotheses(exp).items():
        data = recipe.folder / "data" / path.split("/")[1]
        assert [line.split()[0] for line in text.splitlines()] == [line.split()[0] for line in lines(data / "utt2spk")]
    before, start = recipe.written(), cpu_seconds()
    result = recipe.run(*recipe.options, "--tag", "walk")
    assert result.returncode == 0 and result.stdout.count("skipped") == len(STAGES), result.stdout + result.stderr
    assert cpu_seconds() - start < 2 and recipe.written() == before


@pytest.mark.parametrize("name", [name for name in WALKS if name not in ("librispeech", "m2asr")])
def test_all_stages_leave_their_results(name: str, tmp_path: Path) -> None:
    check(walked(tmp_path, name))


def test_just_on_eight_languages(tmp_path: Path) -> None:
    """Pretraining, training and two searches of JUST; its vocabulary comes from the ten hours of every language."""
    recipe = Copied(tmp_path, "mls")
    for language in LANGUAGES:
        trees.mls(tmp_path / "corpora", ".opus", language)
    conf, langs = recipe.folder / "conf", list(LANGUAGES.values())
    options = ["--corpus", str(tmp_path / "corpora"), "--nj", "1", "--langs", " ".join(langs)]
    options += ["--train_config", write_tiny(conf, "train_just_base"), "--pretrain_config", write_tiny(conf, "pretrain_just")]
    options += ["--decode_config", "conf/decode_transducer.yaml conf/decode_5gram.yaml"]
    result = recipe.run(*options, timeout=1200)
    assert result.returncode == 0, result.stdout + result.stderr
    exp = recipe.folder / "exp/tiny_train_just_base"
    rows = json.loads((exp / "results.json").read_text(encoding="utf-8"))["rows"]
    expected = {(search, f"test_{lang}", metric) for search in ("transducer", "5gram") for lang in langs for metric in ASR}
    assert {(row["search"], row["set"], row["metric"]) for row in rows if row["set"] != "mean"} == expected
    metrics = json.loads((exp / "train.jsonl").read_text(encoding="utf-8").splitlines()[0])["metrics"]
    assert metrics["contrastive"]["perplexity"] == metrics["mlm"]["perplexity"] > 1


def test_three_runs_of_3m(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """The embedding network, the dense base, and experts that start from both; two searches by rescoring, and the report on experts."""
    recipe, conf = Copied(tmp_path, "wenetspeech"), tmp_path / "egs/wenetspeech/conf"
    options = ["--corpus", str(trees.wenetspeech(tmp_path / "corpora")), "--nj", "1"]
    for name, stop in (("train_3m_embedding", "train"), ("train_3m_base", "train"), ("train_3m", "score")):
        config = ["--train_config", write_tiny(conf, name), "--tag", name, "--stop_stage", stop]
        result = recipe.run(*options, *config, "--decode_config", "conf/decode_rescoring.yaml conf/decode_rescoring_lm.yaml", timeout=600)
        assert result.returncode == 0, result.stdout + result.stderr
    exp = recipe.folder / "exp/train_3m"
    for name in ("train_3m_embedding", "train_3m_base"):
        assert f"phase experts: started from exp/{name}/model.pt" in (exp / "log/4.train.log").read_text(encoding="utf-8")
    rows = json.loads((exp / "results.json").read_text(encoding="utf-8"))["rows"]
    sets = ("dev", "test_net", "test_meeting")
    expected = {(search, name, metric) for search in ("rescoring", "rescoring_lm") for name in sets for metric in UNSPACED}
    assert {(row["search"], row["set"], row["metric"]) for row in rows if row["set"] != "mean"} == expected
    monkeypatch.chdir(recipe.folder)
    assert experts.main(["exp/train_3m"]) == 0 and "| router1 |" in capsys.readouterr().out


def test_three_corpora_are_joined(m2asr: Walked) -> None:
    check(m2asr)


def test_three_corpora_killed_between_their_sets_end_the_same(m2asr: Walked) -> None:
    """While the sets of the first and of the third are put in place, and while directories are joined."""
    options = [*m2asr.options, "--tag", "killed", "--stop_stage", "data"]
    expected = m2asr.contents("data")
    (m2asr.folder / "data").rename(m2asr.folder / "first_data")
    for path, count in ((r"^data/\w+$", 2), (r"^data/\w+_(fr|de|es|ca)$", 5), ("^data/test_zh$", 1)):
        m2asr.run_killed("0 data", path, *options, count=count)
    result = m2asr.run(*options, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    assert m2asr.contents("data") == expected


def test_a_part_of_librispeech_is_enough(librispeech: Walked) -> None:
    check(librispeech)


def test_own_data_directories_need_no_tables(tmp_path: Path) -> None:
    recipe = Walked(tmp_path, "TEMPLATE")
    result = command("prepare", "tsv", "--corpus", recipe.options[1], "--out", recipe.folder / "data")
    assert result.returncode == 0, result.stderr
    result = recipe.run("--stage", "fbank", "--stop_stage", "tokens", timeout=120)
    assert result.returncode == 0 and (recipe.folder / "exp/train_supervised/tokens/text").is_dir(), result.stdout + result.stderr


def test_every_recipe_is_walked_through() -> None:
    tested_elsewhere = {"mini", "debspeech"}
    assert {path.parent.name for path in ROOT.glob("egs/*/run.sh")} - tested_elsewhere == set(WALKS)


def test_a_run_killed_inside_each_stage_goes_on_and_ends_the_same(librispeech: Walked) -> None:
    """From raw corpus to scores in a folder of its own, killed once in every stage."""
    options = [*librispeech.options, "--tag", "killed"]
    expected = librispeech.contents("data", "dump")
    for name in ("data", "dump"):
        (librispeech.folder / name).rename(librispeech.folder / f"first_{name}")
    exp = librispeech.exp("killed")
    for stage, (path, count) in INSIDE.items():
        librispeech.run_killed(stage, path, *options, count=count)
    result = librispeech.run(*options, timeout=1200)
    assert result.returncode == 0, result.stdout + result.stderr
    assert librispeech.contents("data", "dump") == expected
    for log in ("3.pretrain.log", "4.train.log"):
        assert "going on after step" in (exp / "log" / log).read_text(encoding="utf-8"), log
    assert hypotheses(exp) == hypotheses(librispeech.exp())
    walk, killed = (torch.load(librispeech.exp(tag) / "model.pt", weights_only=True)["model"] for tag in ("walk", "killed"))
    assert walk.keys() == killed.keys() and all(torch.equal(walk[name], killed[name]) for name in walk)


def test_another_config_needs_its_sets_and_keeps_existing_features(librispeech: Walked) -> None:
    """A config that reads sets which were not fetched stops before features are computed, and says what to do."""
    config = write_tiny(librispeech.folder / "conf", "train_bljust_960")
    corpus = librispeech.options[:2]
    result = librispeech.run(*corpus, "--train_config", config, "--stop_stage", "fbank", timeout=120)
    assert result.returncode == 1 and "it reads train_clean_360, train_other_500" in result.stderr, result.stderr
    config = write_tiny(librispeech.folder / "conf", "train_supervised")
    result = librispeech.run(*corpus, "--train_config", config, "--stop_stage", "fbank", timeout=120)
    assert result.returncode == 0 and "kept" in result.stdout and "x real time" not in result.stdout, result.stdout + result.stderr
