"""Reads a large JSON file item by item."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from m2asr.errors import UserError
from m2asr.files import open_input

CHUNK = 1 << 20  # bytes read at once
WORD = 16  # characters of the longest literal or escape sequence: more text cannot repair an error further from the end
_SPACE = " \t\r\n"
_AFTER = {",", ":", "]", "}", *_SPACE}


class Item(NamedTuple):
    """An item of the array: the line where it begins, its value, and its text in the file."""

    line: int
    value: object
    source: str


def array_items(path: Path, name: str) -> Iterator[Item]:
    """The items of the array `name` of the object that a JSON file holds; memory grows with the largest item only.

    Raises UserError (file:line) if the file is no such JSON, is truncated, or is not UTF-8.
    """
    reader = _Reader(path)
    with reader.file:
        reader.expect("{")
        while True:
            key = reader.value().value
            reader.expect(":")
            if key == name:
                break
            reader.value()
            if reader.expect(",}") == "}":
                raise UserError(f"{path}:{reader.line}: no array `{name}` in it; fetch the file again")
        reader.expect("[")
        while reader.peek() != "]":
            yield reader.value()
            if reader.expect(",]") == "]":
                return


class _Reader:
    """A window on the text of the file: `text` from `position` on is not consumed yet; `line` is the line of this position."""

    def __init__(self, path: Path) -> None:
        self.path, self.line = path, 1
        self.file = open_input(path)  # closed by array_items
        self.text, self.position, self._tail, self._end = "", 0, b"", False
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """The next character that is not white space."""
        while True:
            while self.position < len(self.text) and self.text[self.position] in _SPACE:
                self._skip(self.position + 1)
            if self.position < len(self.text):
                return self.text[self.position]
            if not self._more():
                raise self._error("the file ends too early: truncated? fetch it again")

    def expect(self, characters: str) -> str:
        """Consume the next character, which must be one of `characters`."""
        character = self.peek()
        if character not in characters:
            raise self._error(f"`{character}` where {' or '.join(characters)} is expected; fetch the file again")
        self._skip(self.position + 1)
        return character

    def value(self) -> Item:
        """Consume a complete value."""
        self.peek()
        size = CHUNK
        while True:
            try:
                value, end = self._decoder.raw_decode(self.text, self.position)
                if self.text[end : end + 1] in _AFTER or not self._more():  # a number may go on
                    break
            except RecursionError:
                raise self._error("lists or objects are too deep within each other; fetch the file again") from None
            except json.JSONDecodeError as error:
                string = error.msg.startswith("Unterminated")
                if (not string and len(self.text) - error.pos > WORD) or not self._more(size):  # more text would not help
                    truncated = string or not self.text[error.pos :].strip()
                    early = "the file ends too early: truncated? " if truncated else ""
                    self._skip(min(error.pos, len(self.text)))
                    raise self._error(f"{early}{error.msg}; fetch the file again") from None
                size *= 2  # an item of many chunks is not decoded again for each
        item = Item(self.line, value, self.text[self.position : end])
        self._skip(end)
        return item

    def _skip(self, end: int) -> None:
        self.line += self.text.count("\n", self.position, end)
        self.position = end

    def _more(self, size: int = 0) -> bool:
        """Lengthen the window by a read of CHUNK or more; False at the end of the file."""
        data = self._tail + self.file.read(max(size, CHUNK))
        if not data:
            return False
        try:
            text, self._tail = data.decode("utf-8"), b""
        except UnicodeDecodeError as error:
            if error.reason != "unexpected end of data":
                line = self.line + self.text.count("\n", self.position) + data.count(b"\n", 0, error.start)
                raise UserError(f"{self.path}:{line}: not UTF-8 ({error.reason}); fetch the file again") from None
            text, tail = data[: error.start].decode("utf-8"), data[error.start :]
            if tail == self._tail:  # nothing was added to it
                raise self._error("the file ends within a character: truncated? fetch it again") from None
            self._tail = tail
        self.text, self.position = self.text[self.position :] + text, 0
        return True

    def _error(self, problem: str) -> UserError:
        return UserError(f"{self.path}:{self.line}: {problem}")
