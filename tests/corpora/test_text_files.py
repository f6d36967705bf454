"""Text sets of plain text: what stays, what is dropped and counted, ids, and that no held-out sentence is among them."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from m2asr.bin.prepare_text import main
from m2asr.corpora.text_files import Limits, prepare_texts
from m2asr.data.directory import read_table
from m2asr.data.index import UtteranceIndex
from m2asr.data.validate import validate
from m2asr.errors import UserError
from m2asr.text.scripts import foreign_share


def write(path: Path, *lines: str) -> Path:
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def held_out(folder: Path, **tables: str) -> Path:
    """A set of one utterance."""
    folder.mkdir()
    for name, value in ({"utt2lang": "en"} | tables).items():
        write(folder / name.replace("_", "."), f"t-1 {value}")
    return folder


def test_what_stays_is_normalized_and_what_goes_is_counted(tmp_path: Path) -> None:
    lines = ["Hello,  World!", "", "too short", "hello world", "The TEST sentence.", "one " * 9, "ну hello это", "it is п, a letter"]
    first = write(tmp_path / "b.txt", *lines)
    second = write(tmp_path / "a.txt.gz", "Dr. No said: \u201cno\u201d", "hello, world", "A translation")
    test = held_out(tmp_path / "test", text="the test sentence", text_en="A translation.")
    report = prepare_texts([first, second], tmp_path / "set", "en", [test], Limits(2, 8, 0.2))
    assert read_table(tmp_path / "set/text") == {
        "a-0000000001": "doctor no said no",
        "a-0000000002": "hello world",
        "b-0000000003": "too short",
        "b-0000000008": "it is p a letter",  # English is written in ASCII, so scripts are compared before
    }
    assert set(read_table(tmp_path / "set/utt2lang").values()) == {"en"}
    assert report.read == 11 and report.kept == 4
    assert dict(report.dropped) == {
        "repeated": 2,
        "nothing left after normalization": 1,
        "more than 8 words": 1,
        "in a held-out set": 2,
        "more than 20% of the letters in scripts that en is not written in": 1,
    }
    assert "set: 4 sentences of 11 lines, 7 dropped\n" in str(report) and f"\nrepeated: 2\n  {first}:1: `Hello, World!`\n" in str(report)
    assert not validate(tmp_path / "set").problems and len(UtteranceIndex(tmp_path / "set")) == 4


def test_characters_are_counted_where_no_spaces_are_written_and_other_scripts_go(tmp_path: Path) -> None:
    file = write(tmp_path / "zh.txt", "你好", "你好吗我很好", "我要 ktv", "hello 你", "при", "１２", "我,在 这里")
    report = prepare_texts([file], tmp_path / "set", "zh", [], Limits(2, 5, 0.6))
    assert list(read_table(tmp_path / "set/text").values()) == ["你好", "我要ktv", "十二", "我在这里"]
    assert report.dropped == {"more than 5 characters": 2, "more than 60% of the letters in scripts that zh is not written in": 1}
    assert "no held-out sets were given" in str(report)
    assert foreign_share("ab你 12", "zh") == 2 / 3 and foreign_share("12", "zh") == 0 and foreign_share("カーか漢", "ja") == 0


def test_no_held_out_sentence_whatever_its_punctuation(mini_data: Path, tmp_path: Path) -> None:
    rng = random.Random(1)
    texts = [text for part in ("train_it", "dev_it", "test_it") for text in read_table(mini_data / part / "text").values()]
    spoilt = ["".join(rng.choice([letter, letter.upper()]) for letter in text) + rng.choice(["", ".", " !"]) for text in texts]
    rng.shuffle(spoilt)
    file = write(tmp_path / "it.txt", *spoilt)
    tests = [mini_data / "dev_it", mini_data / "test_it"]
    prepare_texts([file], tmp_path / "set", "it", tests)
    kept = list(read_table(tmp_path / "set/text").values())
    forbidden = {text for folder in tests for text in read_table(folder / "text").values()}
    assert kept and len(set(kept)) == len(kept) and not forbidden & set(kept)
    assert set(kept) == set(texts) - forbidden


def test_ids_do_not_depend_on_what_is_dropped_and_are_sorted(tmp_path: Path) -> None:
    """Also where the name of one file begins with that of another."""
    names = ["a-0.txt", "a.txt", "a 1", "ä"]
    files = [write(tmp_path / name, f"uno {number}", "due", f"tre {number}") for number, name in enumerate(names)]
    prepare_texts(files, tmp_path / "all", "it")
    prepare_texts(files[::-1], tmp_path / "few", "it", [held_out(tmp_path / "test", text="uno uno")], Limits(2))
    everything, few = read_table(tmp_path / "all/text"), read_table(tmp_path / "few/text")
    assert few.items() <= everything.items() and len(few) == 7 and len(everything) == 9
    assert list(everything) == sorted(everything, key=str.encode) and not validate(tmp_path / "few").problems


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        (["none.txt"], [], "none.txt: no such file"),
        (["it.txt", "it"], [], "it: its sentences would have the same ids as those of"),
        (["test/text"], [], "text: a table of a data directory, with ids"),
        (["cut.gz"], [], "cut.gz: the .gz is truncated or damaged"),
        (["it.txt"], ["--without", "nowhere"], "--without nowhere: no data directory with a text"),
        (["it.txt"], ["--min", "5"], r"set: none of 2 lines is left \(fewer than 5 words: 2\)"),
        (["it.txt"], ["--min", "5", "--max", "4"], "--min 5 --max 4"),
        (["it.txt"], ["--foreign", "2"], "--foreign 2.0"),
        (["it.txt"], ["--lang", "Italian"], "--lang Italian: not a language code"),
        (["it.txt"], ["--out", "full"], "full: this toolkit did not make this folder"),
    ],
)
def test_mistakes_are_one_line_and_change_nothing(files, options, message, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "it.txt", "ciao a tutti", "sì")
    write(tmp_path / "it", "sì")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"ciao a tutti\n" * 1000)[:-20])
    held_out(tmp_path / "test", text="no")
    (tmp_path / "full").mkdir()
    write(tmp_path / "full/notes", "mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=message) as error:
        main([*files, "--lang", "it", "--out", "set", *options])
    assert "\n" not in str(error.value) and sorted(tmp_path.rglob("*")) == before


def test_a_text_set_is_replaced_and_lines_that_are_not_utf8_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "it.txt").write_bytes("\ufeffciao\r\n".encode() + b"caff\xe8\n" + "però".encode())
    for _ in range(2):
        assert main([str(tmp_path / "it.txt"), "--lang", "it", "--out", str(tmp_path / "set")]) == 0
        assert read_table(tmp_path / "set/text") == {"it-0000000001": "ciao", "it-0000000003": "però"}
    assert f"not UTF-8: 1\n  {tmp_path}/it.txt:2: `caff�`" in capsys.readouterr().out
