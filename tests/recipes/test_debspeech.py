"""All stages of the recipe of Debian packages, on small packages of a mirror with a model that is too small to learn."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from m2asr.corpora.debspeech.prepare import AUDIO
from m2asr.data.directory import read_table
from tests.corpora import packages
from tests.recipes.recipe import Copied, cpu_seconds
from tests.recipes.tiny import write_tiny

pytestmark = pytest.mark.recipes
pytest.importorskip("G722", reason="the sounds of Asterisk need the package G722")

PINS = """
import hashlib
from pathlib import Path
from m2asr.corpora.debspeech.packages import PACKAGES
for index, package in enumerate(PACKAGES):  # the pins of the small packages, in every python that the recipe starts
    path = Path({mirror!r}, "pool/main", package.pool, package.file)
    if path.is_file():
        data = path.read_bytes()
        PACKAGES[index] = package._replace(size=len(data), sha256=hashlib.sha256(data).hexdigest())
"""
PARTS = "asterisk festvox fillets tuxpaint drascula steelsky"  # Mandarin has a package of PyPI, which no mirror gives
SOURCES = {
    "en": {"asterisk", "drascula", "steelsky"},
    "cs": {"fillets"},
    "nl": {"fillets"},
    "es": {"asterisk", "drascula", "tuxpaint"},
    "ru": {"asterisk", "festvox", "tuxpaint"},
    "fr": {"asterisk", "tuxpaint"},
    "ro": {"tuxpaint"},
    "bg": {"tuxpaint"},
    "it": {"asterisk"},
}
ST = {"en": "de", "cs": "en", "nl": "en"}


class Debspeech(Copied):
    """The recipe beside a mirror of small packages; `options` are those of every run."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, "debspeech")
        mirror = packages.debspeech(root / "mirror")
        with open(self.hooks, "a", encoding="utf-8") as file:
            file.write(PINS.format(mirror=str(mirror)))
        self.options = ["--mirror", mirror.as_uri(), "--parts", PARTS, "--nj", "1"]
        self.options += ["--train_config", write_tiny(self.folder / "conf", "train_m2asr"), "--tag", "walk"]
        self.exp = self.folder / "exp/walk"

    def table(self, name: str) -> dict[str, str]:
        return read_table(self.folder / "data" / name)


@pytest.fixture(scope="module")
def debspeech(tmp_path_factory: pytest.TempPathFactory) -> Debspeech:
    """The recipe after all its stages."""
    recipe = Debspeech(tmp_path_factory.mktemp("debspeech"))
    result = recipe.run(*recipe.options, timeout=1200)
    assert result.returncode == 0, result.stdout + result.stderr
    return recipe


def test_packages_are_fetched_with_their_licences(debspeech: Debspeech) -> None:
    names = {path.name for path in (debspeech.folder / "downloads").iterdir()}
    assert names == {package.file for package in packages.PACKAGES if package.source in PARTS} | {"ATTRIBUTION.md", "licences"}


@pytest.mark.parametrize("lang", SOURCES)
def test_every_recording_and_text_of_the_packages_is_in_a_set(debspeech: Debspeech, lang: str) -> None:
    sets = [f"{role}_{lang}" for role in ("train", "dev", "test")]
    sources = {utt: source for name in sets for utt, source in debspeech.table(f"{name}/utt2source").items()}
    assert {source: list(sources.values()).count(source) for source in SOURCES[lang]} == dict.fromkeys(SOURCES[lang], packages.EACH)
    texts = {text for name in sets for text in debspeech.table(f"{name}/text").values()}
    spoken = {packages.item(source, number, lang) for source in SOURCES[lang] for number in range(packages.EACH)}
    assert texts == {text.lower() for text in spoken}
    if lang in ST:
        translations = {text for name in sets for text in debspeech.table(f"{name}/text.{ST[lang]}").values()}
        source = "steelsky" if lang == "en" else "fillets"
        assert translations == {packages.item(source, number, ST[lang]) for number in range(packages.EACH)}  # cased


def test_there_are_scores_per_language_and_source(debspeech: Debspeech) -> None:
    results = json.loads((debspeech.exp / "results.json").read_text(encoding="utf-8"))
    assert (results["by"], results["min_words"]) == ("source", 3)
    keys = "search", "set", "task", "lang", "metric"
    rows = {tuple(row[key] for key in keys): row for row in results["rows"] if row["set"] != "mean"}
    expected = {(f"test_{lang}", "asr", lang, metric) for lang in ST for metric in ("wer", "cer")}
    expected |= {(f"test_{lang}", "st", target, metric) for lang, target in ST.items() for metric in ("bleu", "chrf")}
    assert set(rows) == {(search, *row) for search in ("greedy", "lm") for row in expected}
    text = (debspeech.exp / "RESULTS.md").read_text(encoding="utf-8")
    for (search, name, task, lang, metric), row in rows.items():
        sources = debspeech.table(f"{name}/utt2source")
        scored = Counter(sources[utt] for utt in debspeech.table(f"{name}/text" if task == "asr" else f"{name}/text.{lang}"))
        assert {source: figures["utterances"] for source, figures in row["groups"].items()} == scored
        label = task if task == "asr" else f"st {row['source']}-{lang}"
        for source, figures in row["groups"].items():
            assert figures["ci95"][0] <= figures["ci95"][1] and "baseline" in figures
            assert f"| {search} | {name}, {source} | {label} | {metric} |" in text
    assert set(rows["lm", "test_en", "asr", "en", "wer"]["groups"]) == SOURCES["en"]
    assert "nearest training sentence" in text


def test_a_second_run_does_nothing_whatever_the_mirror(debspeech: Debspeech) -> None:
    before, start = debspeech.written(), cpu_seconds()
    result = debspeech.run(*debspeech.options, "--mirror", "https://mirror.invalid/debian")
    assert result.returncode == 0 and result.stdout.count("skipped") == 10, result.stdout + result.stderr
    assert cpu_seconds() - start < 2 and debspeech.written() == before


def test_missing_sets_are_named(debspeech: Debspeech) -> None:
    options = ("--stage", "fbank", "--langs", "en zh", "--train_config", "conf/train_m2asr_zh.yaml")
    result = debspeech.run(*debspeech.options, *options, "--tag", "zh", timeout=120)
    assert result.returncode == 1 and "it reads train_zh, dev_zh, and data does not have them" in result.stderr
    assert "data/test_zh: not prepared, left out" in result.stdout


def test_stage_data_killed_anywhere_goes_on_and_ends_the_same(debspeech: Debspeech, tmp_path: Path) -> None:
    """In the downloads, between two sets, and before the folder of the recordings is there."""
    killed = Debspeech(tmp_path)
    options = [*killed.options, "--stop_stage", "data"]
    for path, count in ((r"^downloads/\w[^/]*\.deb$", 3), (r"^data/\w+_\w\w$", 2), (rf"^data/{AUDIO}$", 1)):
        killed.run_killed("0 data", path, *options, count=count)
    result = killed.run(*options, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    assert killed.contents("data") == debspeech.contents("data")
    assert killed.contents("downloads").keys() == debspeech.contents("downloads").keys()  # the two mirrors' packages differ in their bytes
