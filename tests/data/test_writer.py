"""Data directories that are written utterance by utterance."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest

from m2asr.data import writer
from m2asr.data.directory import Utterance, read_table, read_tables, replace_data_dir, table_rows
from m2asr.data.writer import DataDirs
from m2asr.errors import UserError


def utterances(number: int) -> list[Utterance]:
    """Speakers whose ids are prefixes of one another, in no order."""
    spoken = [(n, f"{n % 13}") for n in range(number)]
    generated = [Utterance(f"{spk}-{n:04d}", spk, "en", f"{n}.wav", 1 + n / 7, f"text {n}", {"de": f"Satz {n}."}) for n, spk in spoken]
    return random.Random(0).sample(generated, number)


def write(out: Path, name: str, utterances: Iterable[Utterance]) -> None:
    with DataDirs(out) as dirs:
        for utterance in utterances:
            dirs.add(name, utterance)


def test_a_directory_holds_what_its_utterances_say(tmp_path: Path) -> None:
    corpus = [
        Utterance("b-2", "b", "it", "x/2.wav", 1.5, "ciao", {"en": "Hello."}),
        Utterance("a-1", "a", "en", "x/1.wav", 0.25, "hello", {}),
        Utterance("b-1", "b", "it", "x/3.wav", 2.0, "sì", {"en": "Yes.", "ru": "Да."}),
    ]
    write(tmp_path, "set", corpus)
    assert read_tables(tmp_path / "set") == {
        "wav.scp": {"a-1": "x/1.wav", "b-1": "x/3.wav", "b-2": "x/2.wav"},
        "utt2spk": {"a-1": "a", "b-1": "b", "b-2": "b"},
        "utt2lang": {"a-1": "en", "b-1": "it", "b-2": "it"},
        "utt2dur": {"a-1": "0.250", "b-1": "2.000", "b-2": "1.500"},
        "text": {"a-1": "hello", "b-1": "sì", "b-2": "ciao"},
        "text.en": {"b-1": "Yes.", "b-2": "Hello."},
        "text.ru": {"b-1": "Да."},
    }
    assert (tmp_path / "set" / "spk2utt").read_text() == "a a-1\nb b-1 b-2\n"
    write(tmp_path, "set", corpus[1:2])  # a preparation that is run again leaves nothing of the first
    assert not (tmp_path / "set" / "text.ru").exists() and os.listdir(tmp_path) == ["set"]


def test_unlabelled_speech_has_no_text(tmp_path: Path) -> None:
    write(tmp_path, "set", [Utterance("a-1", "a", "en", "1.wav", 1.0)])
    assert sorted(os.listdir(tmp_path / "set")) == [".m2asr", "spk2utt", "utt2dur", "utt2lang", "utt2spk", "wav.scp"]


@pytest.mark.parametrize("run", [7, 1000])
def test_what_is_sorted_on_disk_is_what_is_sorted_in_memory(run: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "RUN", run)
    with DataDirs(tmp_path / "data") as dirs:
        for utterance in utterances(200):
            dirs.add("one" if utterance.seconds < 10 else "two", utterance)
    for name in ("one", "two"):
        tables: dict[str, dict[str, str]] = defaultdict(dict)
        for utterance in utterances(200):
            if (utterance.seconds < 10) == (name == "one"):
                for file, key, value in table_rows(utterance):
                    tables[file][key] = value
        replace_data_dir(tmp_path / "memory", tables)
        files = sorted(path.name for path in (tmp_path / "memory").iterdir())
        assert sorted(path.name for path in (tmp_path / "data" / name).iterdir()) == files
        for file in files:
            assert (tmp_path / "data" / name / file).read_bytes() == (tmp_path / "memory" / file).read_bytes()


def test_segments_share_a_recording(tmp_path: Path) -> None:
    with DataDirs(tmp_path) as dirs:
        for n in range(3):
            dirs.add("set", Utterance(f"s-{n}", "s", "en", "long.sph", 2.5, "so", recording="long", start=10.0 * n))
    assert read_table(tmp_path / "set/wav.scp") == {"long": "long.sph"}
    assert read_table(tmp_path / "set/segments") == {"s-0": "long 0.000 2.500", "s-1": "long 10.000 12.500", "s-2": "long 20.000 22.500"}


def test_nothing_is_put_in_place_after_an_error(tmp_path: Path) -> None:
    first, second = utterances(2)
    with pytest.raises(UserError, match=rf"{first.id}: this id has two lines in"), DataDirs(tmp_path / "data") as dirs:
        for name, utterance in (("a", second), ("b", first), ("b", first)):
            dirs.add(name, utterance)
    assert not (tmp_path / "data").exists()
    write(tmp_path / "data", "a", [first])
    before = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    with pytest.raises(KeyboardInterrupt), DataDirs(tmp_path / "data") as dirs:
        dirs.add("a", second)
        raise KeyboardInterrupt
    assert {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()} == before
    (tmp_path / "data/mine").mkdir()
    (tmp_path / "data/mine/thesis").write_text("x")
    with pytest.raises(UserError, match="mine: this toolkit did not make this folder"), DataDirs(tmp_path / "data") as dirs:
        dirs.add("mine", first)
