from __future__ import annotations

import json
from pathlib import Path

import pytest

from m2asr.corpora import json_stream
from m2asr.corpora.json_stream import array_items
from m2asr.errors import UserError

ITEMS = [{"text": '今天\n{]"', "more": [1, {"deep": None}]}, 12345, "été", [], -1.5e-7, {}, True]


@pytest.mark.parametrize("chunk", [1, 2, 7, 64, 1 << 20])
@pytest.mark.parametrize("indent", [None, 4])
def test_items_are_those_of_the_whole_file(chunk: int, indent: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    path = tmp_path / "a.json"
    document = {"version": 12.5, "list": [[1], "]"], "items": ITEMS, "end": 1}
    path.write_text(json.dumps(document, indent=indent, ensure_ascii=False), encoding="utf-8")
    items = list(array_items(path, "items"))
    assert [item.value for item in items] == ITEMS == [json.loads(item.source) for item in items]
    lines = path.read_text(encoding="utf-8").splitlines()
    for item in items:
        assert item.source.splitlines()[0] in lines[item.line - 1]


def test_an_empty_array_has_no_items(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"items": [ ] }')
    assert list(array_items(tmp_path / "a.json", "items")) == []


def test_the_window_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "CHUNK", 100)
    (tmp_path / "a.json").write_text(json.dumps({"items": ["x" * 50] * 1000}))
    windows = []
    value = json_stream._Reader.value
    monkeypatch.setattr(json_stream._Reader, "value", lambda self: (windows.append(len(self.text)), value(self))[1])
    assert len(list(array_items(tmp_path / "a.json", "items"))) == 1000 and max(windows) < 500


@pytest.mark.parametrize("chunk", [3, 1 << 20])
@pytest.mark.parametrize(
    "text, message",
    [
        (b'{"items":\n [1,\n 2', ":3: the file ends too early"),
        (b'{"items": [{"a": "b', ":1: the file ends too early: truncated?"),
        (b'{"items": [1 2]}', ":1: `2` where , or ] is expected"),
        (b'{"items": [\n{"a" 1}]}' + b" " * 100, ":2: Expecting ':' delimiter"),
        (b'{"other": [1]}', ":1: no array `items` in it"),
        (b'{"items": {}}', r":1: `\{` where \[ is expected"),
        (b"[1]", r":1: `\[` where \{ is expected"),
        (b"", ":1: the file ends too early"),
        (b'{"items": [1,\n\n"\xe9\xe9"]}', ":3: not UTF-8"),
        (b'{"items": ["\xe4\xbb', ":1: the file ends"),
    ],
)
def test_errors_name_the_line(text: bytes, message: str, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(UserError, match=f"a.json{message}"):
        list(array_items(tmp_path / "a.json", "items"))
    with pytest.raises(UserError, match="b.json: cannot read: No such file"):
        list(array_items(tmp_path / "b.json", "items"))
