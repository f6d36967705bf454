"""Writes data directories of any size: utterances come in any order, tables are sorted on disk, all sets appear together."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from types import TracebackType

from m2asr.data.directory import KIND, Utterance, table_rows
from m2asr.errors import UserError
from m2asr.files import replace_dir

RUN = 200_000  # lines of a table that are sorted in memory at once


class DataDirs:
    """A context in which `add` writes data directories under `out`; at its end all of them appear, or none after an error."""

    def __init__(self, out: Path) -> None:
        self.out, self._new = out, not out.exists()
        self._stack = ExitStack()
        self._folders: dict[str, Path] = {}  # set -> temporary folder
        self._tables: dict[tuple[str, str], _Table] = {}  # set, file -> its lines

    def __enter__(self) -> DataDirs:
        return self

    def add(self, name: str, utterance: Utterance) -> None:
        """Write an utterance into the set `name`. Raises UserError if another file or folder has that name."""
        if name not in self._folders:
            self._folders[name] = self._stack.enter_context(replace_dir(self.out / name, KIND))
        for file, key, value in table_rows(utterance):
            if (name, file) not in self._tables:
                self._tables[name, file] = _Table(self._folders[name] / file)
            self._tables[name, file].add(key, value)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            with self._stack:  # an error in here removes the temporary folders
                if error is not None:
                    raise error
                for (name, file), table in self._tables.items():
                    table.finish(shared=file == "wav.scp" and (name, "segments") in self._tables)
                for folder in self._folders.values():
                    _write_speakers(folder)
        except BaseException:
            if self._new and self.out.is_dir() and not any(self.out.iterdir()):
                self.out.rmdir()
            raise


class _Table:
    """One file of `id value` lines; sorted runs go to disk, so memory does not grow with their number."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: list[bytes] = []
        self._runs: list[Path] = []

    def add(self, key: str, value: str) -> None:
        self._lines.append(f"{key} {value}".rstrip().encode() + b"\n")
        if len(self._lines) >= RUN:
            self._runs.append(self.path.with_name(f".{self.path.name}.{len(self._runs)}"))
            with open(self._runs[-1], "wb") as file:
                file.writelines(sorted(self._lines))  # no byte of an id is below the space, so lines sort as their ids
            self._lines = []

    def finish(self, shared: bool) -> None:
        """Merge the runs into the file. Raises UserError for an id with two lines; if `shared`, equal lines may repeat."""
        with ExitStack() as stack:
            runs: list[Iterable[bytes]] = [stack.enter_context(open(run, "rb")) for run in self._runs]
            merged = heapq.merge(*runs, sorted(self._lines))
            with open(self.path, "wb") as file:
                file.writelines(self._unique(merged, shared))
        for run in self._runs:
            run.unlink()
        self._lines = []

    def _unique(self, lines: Iterable[bytes], shared: bool) -> Iterator[bytes]:
        before = b""
        for line in lines:
            if shared and line == before:
                continue
            key = line.partition(b" ")[0]
            if before and key == before.partition(b" ")[0]:
                raise UserError(f"{key.decode()}: this id has two lines in {self.path.name}; ids must be unique in a set")
            yield line
            before = line


def _write_speakers(folder: Path) -> None:
    """spk2utt from the sorted utt2spk, one speaker in memory at a time: utterances begin with their speaker."""
    with open(folder / "utt2spk", encoding="utf-8") as file, open(folder / "spk2utt", "w", encoding="utf-8", newline="\n") as out:
        for speaker, rows in groupby((line.split() for line in file), key=lambda row: row[1]):
            out.write(f"{speaker} {' '.join(row[0] for row in rows)}\n")
