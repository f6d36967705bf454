from __future__ import annotations

from pathlib import Path

import pytest

from m2asr.bin.phones import main
from m2asr.data.directory import read_table
from m2asr.errors import UserError


def test_writes_phones_of_every_folder_and_reports_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [tmp_path / "zh", tmp_path / "it"]
    for folder, text in zip(folders, ("我好α", "ciao"), strict=True):
        folder.mkdir()
        (folder / "text").write_text(f"a {text}\n", encoding="utf-8")
        (folder / "utt2lang").write_text(f"a {folder.name}\n")
    assert main([str(folder) for folder in folders]) == 0
    assert [read_table(folder / "text.phones")["a"] for folder in folders] == ["uo3 h ao3", "c i a o"]
    out = capsys.readouterr().out
    assert f"{folders[0]}/text.phones: written, 1 utterances, 3 phones, 3 in all" in out
    assert f"α (U+03B1): 1\n  {folders[0]}/text:1: a: α\n{folders[1]}/text.phones" in out
    with pytest.raises(UserError, match="--how pypinyin: it reads Mandarin") as error:
        main([str(folders[1]), "--how", "pypinyin"])
    assert error.value.exit_code == 2
