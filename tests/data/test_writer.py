"""Data directories that are written utterance by utterance."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from m2asr.data import writer
from m2asr.data.directory import Utterance, read_table, write_data_dir
from m2asr.data.writer import DataDirs
from m2asr.errors import UserError


def utterances(number: int) -> list[Utterance]:
    """Speakers whose ids are prefixes of one another, in no order."""
    spoken = [(n, f"{n % 13}") for n in range(number)]
    made = [Utterance(f"{spk}-{n:04d}", spk, "en", f"{n}.wav", 1 + n / 7, f"text {n}", {"de": f"Satz {n}."}) for n, spk in spoken]
    return random.Random(0).sample(made, number)


@pytest.mark.parametrize("run", [7, 1000])
def test_what_is_sorted_on_disk_is_what_is_sorted_in_memory(run: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "RUN", run)
    with DataDirs(tmp_path / "data") as dirs:
        for one in utterances(200):
            dirs.add("one" if one.seconds < 10 else "two", one)
    for name in ("one", "two"):
        write_data_dir(tmp_path / "memory", [one for one in utterances(200) if (one.seconds < 10) == (name == "one")])
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
        for name, one in (("a", second), ("b", first), ("b", first)):
            dirs.add(name, one)
    assert not (tmp_path / "data").exists()
    write_data_dir(tmp_path / "data/a", [first])
    before = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    with pytest.raises(KeyboardInterrupt), DataDirs(tmp_path / "data") as dirs:
        dirs.add("a", second)
        raise KeyboardInterrupt
    assert {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()} == before
    (tmp_path / "data/mine").mkdir()
    (tmp_path / "data/mine/thesis").write_text("x")
    with pytest.raises(UserError, match="mine: it exists and is no data directory"), DataDirs(tmp_path / "data") as dirs:
        dirs.add("mine", first)
