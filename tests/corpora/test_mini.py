"""The embedded speech itself, and the sets that are made of it."""

from __future__ import annotations

import re
import shutil
from itertools import permutations
from pathlib import Path

import pytest
import soundfile

from m2asr.corpora.mini import SPEAKERS, prepare
from m2asr.data.directory import read_table
from m2asr.data.validate import validate
from m2asr.errors import UserError
from m2asr.text.normalize import normalize
from tests.conftest import CORPUS

SPLITS = ("train", "dev", "test")


@pytest.fixture(scope="module")
def prompts() -> dict[str, dict[str, str]]:
    header, *rows = (line.split("\t") for line in (CORPUS / "transcripts.tsv").read_text(encoding="utf-8").splitlines())
    return {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows}


def test_every_text_has_its_recording_and_the_other_way_round(prompts: dict[str, dict[str, str]]) -> None:
    texts = {f"{lang}/{key.replace('/', '_')}" for key, found in prompts.items() for lang, text in found.items() if text}
    assert {str(path.relative_to(CORPUS / "audio").with_suffix("")) for path in CORPUS.glob("audio/*/*")} == texts
    assert len(texts) > 1600
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 9.3e6
    assert all((CORPUS / name).stat().st_size > 1000 for name in ("ATTRIBUTION.md", "LICENSE.en", "LICENSE.it", "LICENSE.ru"))


def test_texts_hold_what_is_said(prompts: dict[str, dict[str, str]]) -> None:
    """No notes, no broken letters, no prompt that ran into the next, no Latin look-alikes in Russian words."""
    for key, texts_of in prompts.items():
        for lang, text in texts_of.items():
            assert not re.search(r"[\[\]()<>*#@\ufffd]|\?(?!$)|\b[a-z]+(-[a-z]+)+: |^\s|\s$|\s\s", text), (lang, key, text)
            assert not re.search(r"[a-zA-Z][а-яёА-ЯЁ]|[а-яёА-ЯЁ][a-zA-Z]", text), (lang, key, text)
    assert prompts["conf-full"]["it"] == "La conferenza è piena." and prompts["vm-first"]["ru"] == "первое"
    assert prompts["pbx-parkingfailed"]["it"].startswith("tentativo di Parcheggio")


def test_no_sentence_of_a_part_is_in_another(mini_data: Path) -> None:
    """Neither what is said in any language, nor a translation, nor a prompt, is shared by train, dev and test."""
    sentences, prompts = {}, {}
    for split in SPLITS:
        sentences[split], prompts[split] = set(), set()
        for lang in SPEAKERS:
            folder = mini_data / f"{split}_{lang}"
            sentences[split] |= {(lang, text) for text in read_table(folder / "text").values()}
            for target in SPEAKERS.keys() - {lang}:
                sentences[split] |= {(target, normalize(text, target)) for text in read_table(folder / f"text.{target}").values()}
            prompts[split] |= {utt.removeprefix(SPEAKERS[lang]) for utt in read_table(folder / "utt2spk")}
        assert sentences[split] and prompts[split]
    for first, target in permutations(SPLITS, 2):
        assert not sentences[first] & sentences[target] and not prompts[first] & prompts[target]


def test_every_recording_is_in_one_set_and_sets_are_clean(mini_data: Path) -> None:
    wavs = [wav for part in SPLITS for lang in SPEAKERS for wav in read_table(mini_data / f"{part}_{lang}" / "wav.scp").values()]
    assert sorted(wavs) == sorted(map(str, CORPUS.glob("audio/*/*.opus")))
    for folder in mini_data.iterdir():
        report = validate(folder, audio=False, keep_long_text=True)
        assert report.clean, report
        assert set(read_table(folder / "utt2lang").values()) == {folder.name[-2:]}


def test_durations_are_measured(mini_data: Path) -> None:
    wavs = read_table(mini_data / "dev_it" / "wav.scp")
    for utt, seconds in read_table(mini_data / "dev_it" / "utt2dur").items():
        wave, rate = soundfile.read(wavs[utt])
        assert rate == 16000 and abs(len(wave) / rate - float(seconds)) < 1e-3


def test_translations_are_cased_and_never_the_same_words(mini_data: Path, prompts: dict[str, dict[str, str]]) -> None:
    for split, lang in ((split, lang) for split in SPLITS for lang in SPEAKERS):
        text = read_table(mini_data / f"{split}_{lang}" / "text")
        for target in SPEAKERS.keys() - {lang}:
            for utt, translation in read_table(mini_data / f"{split}_{lang}" / f"text.{target}").items():
                key = utt.removeprefix(f"{SPEAKERS[lang]}-")
                assert translation == (prompts.get(key) or prompts[key.replace("_", "/", 1)])[target]
                assert normalize(translation, target) != text[utt]
    assert read_table(mini_data / "train_en" / "text.it")["en_allison-agent-alreadyon"].startswith("Quell'operatore è già loggato. ")


def test_a_broken_corpus_is_named(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    (corpus / "audio/en").mkdir(parents=True)
    shutil.copy(CORPUS / "audio/en/hello.opus", corpus / "audio/en")
    (corpus / "audio/en/goodbye.opus").write_bytes((CORPUS / "audio/en/vm-options.opus").read_bytes()[:-20])
    for table, message in (
        (None, r"transcripts.tsv: not found; --corpus must name"),
        ("", r"transcripts.tsv:1: the columns are not id en it ru"),
        ("id\ten\tit\tru\nhello\tHello.\n", r"transcripts.tsv:2: the columns"),
        ("id\ten\tit\tru\nvm-no\tNo.\t\t\n", r"vm-no: its recording .*vm-no.opus does not exist; extract or fetch"),
        ("id\ten\tit\tru\ngoodbye\tGoodbye.\t\t\n", r"goodbye.opus: truncated"),
    ):
        if table is not None:
            (corpus / "transcripts.tsv").write_text(table)
        with pytest.raises(UserError, match=message):
            prepare(corpus, tmp_path / "data")
        assert not (tmp_path / "data").exists()


def test_utterances_without_words_are_dropped_and_told(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    (corpus / "audio/en").mkdir(parents=True)
    for key in ("hello", "silence"):
        shutil.copy(CORPUS / "audio/en/hello.opus", corpus / f"audio/en/{key}.opus")
    (corpus / "transcripts.tsv").write_text("id\ten\tit\tru\nhello\tHello.\t\t\nsilence\t...\t\t\n")
    assert "dropped 1: nothing left after normalization: en_allison-silence" in str(prepare(corpus, tmp_path / "data"))
