"""text.phones of a set: the ids of its text, what cannot be read, and what happens to a file that is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from m2asr.data import phones
from m2asr.data.directory import read_table
from m2asr.data.index import UtteranceIndex
from m2asr.data.phones import write_phones
from m2asr.errors import UserError
from m2asr.text.tokenizer import UNK, train_tokenizer

TEXTS = {"a-1": "你好", "a-2": "привет", "a-3": "好привет", "b-1": "ciao"}
LANGS = {"a-1": "zh", "a-2": "zh", "a-3": "zh", "b-1": "it"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "set", TEXTS)
    return tmp_path / "set"


def write(folder: Path, texts: dict[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    for name, table in (("text", texts), ("utt2lang", LANGS)):
        (folder / name).write_text("".join(f"{utt} {value}\n" for utt, value in table.items()), encoding="utf-8")


@pytest.mark.parametrize("chunk", [1, 2000])
def test_every_utterance_is_read_in_its_language(folder: Path, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phones, "CHUNK", chunk)
    report = str(write_phones(folder))
    assert read_table(folder / "text.phones") == {"a-1": "n i3 h ao3", "a-3": "h ao3", "b-1": "c i a o"}
    assert "3 utterances, 8 phones, 10 in all" in report
    assert f"nothing in them can be read: 1\n  {folder}/text:2: a-2: `привет`" in report
    assert f"left out: 12, 6 different\nп (U+043F): 2\n  {folder}/text:2: a-2: п\n  {folder}/text:3: a-3: п" in report


def test_a_tokenizer_of_words_reads_the_phones_of_a_text_set(folder: Path, tmp_path: Path) -> None:
    write_phones(folder)
    tokenizer = train_tokenizer("words", None, read_table(folder / "text.phones").values(), tmp_path / "phones")
    index = UtteranceIndex(folder)
    assert index.token_counts("text.phones", tokenizer).tolist() == [4, 0, 2, 4]
    assert tokenizer.decode(tokenizer.encode(index.text(0, "text.phones"))) == "n i3 h ao3" and UNK not in tokenizer.encode("h ao3")


def test_a_file_that_stays_the_same_keeps_its_time_and_another_is_replaced(folder: Path) -> None:
    assert write_phones(folder).state == "written"
    os.utime(folder / "text.phones", ns=(1, 1))
    assert write_phones(folder).state == "unchanged" and (folder / "text.phones").stat().st_mtime_ns == 1
    write(folder, TEXTS | {"a-2": "我"})
    assert write_phones(folder).state == "replaced" and read_table(folder / "text.phones")["a-2"] == "uo3"


def test_a_language_for_all_texts(folder: Path) -> None:
    write_phones(folder, lang="ru")
    assert read_table(folder / "text.phones")["a-2"] == "п р и в е т"


@pytest.mark.parametrize(
    ("change", "lang", "message"),
    [
        (lambda folder: (folder / "text").unlink(), None, "it has no file text to read out"),
        (lambda folder: write(folder, {"b-1": "ciao", "a-1": "你"}), None, "text:2: `a-1` is out of order"),
        (lambda folder: write(folder, {"a-1": "你", "c": "no"}), None, "text:2: c has no language"),
        (lambda folder: write(folder, {"a-2": "привет"}), "zh", "no utterance can be read out; correct --lang"),
        (lambda folder: write(folder, {"a-2": ""}), "zh", "no utterance can be read out"),
    ],
)
def test_mistakes_are_one_line_and_leave_the_folder_as_it_was(folder: Path, change, lang: str | None, message: str) -> None:
    write_phones(folder)
    change(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UserError, match=message) as error:
        write_phones(folder, lang)
    assert "\n" not in str(error.value) and before == {path.name: path.read_bytes() for path in folder.iterdir()}
