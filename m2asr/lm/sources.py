"""Reads sentences of data directories, text sets and plain text files, as words or tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from m2asr.data.lines import rows_of
from m2asr.errors import UserError
from m2asr.files import recover
from m2asr.lm.lines import open_lines
from m2asr.lm.table import BOS, EOS
from m2asr.progress import visible
from m2asr.text.normalize import normalize
from m2asr.text.tokenizer import Tokenizer


@dataclass
class Sources:
    """Texts, and the way to split them: into tokens of `tokenizer`, or at spaces into words if it is None.

    `normalize` is the language whose rules normalize the texts first, None for texts that are normalized already. A path is a folder with
    a Kaldi table `column` (a data directory or a text set), or a file with a sentence per line, which gzip may have packed. Every
    `every`-th line is read, from the first on. `empty` counts the lines without text. Raises UserError for a missing path.
    """

    paths: Sequence[Path]
    column: str = "text"
    tokenizer: Tokenizer | None = None
    every: int = 1
    normalize: str | None = None
    empty: int = 0

    def __post_init__(self) -> None:
        for path in map(recover, self.paths):
            if path.is_dir() and not (path / self.column).is_file():
                raise UserError(f"{path}: it has no file {self.column}; choose another --column, or run stage 0 (data) first")
            if not path.exists():
                raise UserError(f"{path}: no such file or folder; correct the path, or run stage 0 (data) first")
            if path.name.split(".")[0] == "text" and (path.parent / "utt2lang").is_file():
                raise UserError(f"{path}: a table of a data directory, with ids; name its folder, and --column {path.name}")

    def __iter__(self) -> Iterator[list[str]]:
        """The sentences. Raises UserError (file:line) for missing files, text that is not UTF-8, and words that are <s> or </s>."""
        self.empty = 0
        for path in self.paths:
            with tqdm(desc=f"read {path}", unit="line", unit_scale=True, disable=not visible()) as bar:
                for number, text in enumerate(self._texts(path)):
                    bar.update()
                    if number % self.every:
                        continue
                    if not (words := self._split(text)):
                        self.empty += 1
                        continue
                    if "s>" in text and not {BOS, EOS}.isdisjoint(words):
                        raise UserError(f"{path}:{number + 1}: {BOS} and {EOS} mark sentences, they cannot be words; remove them")
                    yield words

    def _split(self, text: str) -> list[str]:
        if self.normalize:
            text = normalize(text, self.normalize)
        if self.tokenizer is None:
            return text.split()
        return [self.tokenizer.tokens[number] for number in self.tokenizer.encode(text)]

    def _texts(self, path: Path) -> Iterator[str]:
        if path.is_dir():
            for row in rows_of(path / self.column):
                yield row.value.decode()
            return
        with open_lines(path) as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield line.decode()
                except UnicodeDecodeError:
                    raise UserError(f"{path}:{number}: not UTF-8 text; convert this file to UTF-8") from None
