"""Builds and opens the cache of an UtteranceIndex: the offset of every utterance's line in every file of a set."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m2asr.data.checked import is_whole, read_checked, write_checked
from m2asr.data.directory import is_text_set
from m2asr.data.lines import Lines, Row, remedy, rows_of, shown
from m2asr.data.report import FIX, MADE
from m2asr.errors import UserError
from m2asr.files import recover, temporary_dir
from m2asr.ownership import note

LANGUAGES = 10_000  # the most of a set
_VERSION = 2  # of the cache's layout
_CONTENTS = "contents.json"
_READ_FULLY = ("utt2lang", "utt2num_frames", "utt2dur")  # into frames and lang_ids, so they need no offsets


@dataclass
class CachedIndex:
    """The cached data of a set's utterances; the arrays are memory-mapped."""

    folder: Path
    lines: dict[str, Lines]  # by file name
    frames: np.ndarray  # (N,) int32
    lang_ids: np.ndarray  # (N,) int16, positions in `languages`
    languages: list[str]


def open_cache(data_dir: Path, dump_dir: Path | None) -> CachedIndex:
    """Open the cache of a set; build it first if there is none for the present state of the files.

    The cache is a folder named after sizes and times of its sources, which appears complete: processes that build it at the same time
    build the same, and the first one wins. A damaged one is built again. Raises UserError (file:line) for ids that do not agree between
    the files.
    """
    for folder in (data_dir, dump_dir) if dump_dir else (data_dir,):
        recover(folder)
    files = _sources(data_dir, dump_dir)
    home = (dump_dir or data_dir) / "index"
    cache = home / _fingerprint(files)
    if (contents := _contents(cache)) is None:
        shutil.rmtree(cache, ignore_errors=True)
        note(home.parent, home.name)
        home.mkdir(parents=True, exist_ok=True)
        print_if_long(f"indexing {data_dir}", next(iter(files.values())).stat().st_size // 50)
        old = [path for path in home.iterdir() if re.fullmatch(r"[0-9a-f]{24}", path.name)]
        try:
            with temporary_dir(home / "new") as temporary:
                _build(files, temporary)
                os.rename(temporary, cache)
        except OSError:
            if not cache.is_dir():  # otherwise another process was faster
                raise
        for path in old:
            if path != cache:
                shutil.rmtree(path, ignore_errors=True)
        if (contents := _contents(cache)) is None:
            raise UserError(f"{cache}: what was written there cannot be read back; is the disk damaged?")
    lines = {name: Lines(path, cache / name) for name, path in files.items() if name in contents["bytes"]}
    types = (("frames", "<i4"), ("lang_ids", "<i2"))
    frames, lang_ids = (np.memmap(cache / name, dtype, mode="r", shape=contents["utterances"]) for name, dtype in types)
    return CachedIndex(cache, lines, frames, lang_ids, contents["languages"])


def _contents(cache: Path) -> dict[str, Any] | None:
    """The utterances, languages and sizes of the files of a cache; None if any of them is not as it was written."""
    if not is_whole(cache / _CONTENTS):
        return None
    contents = json.loads(read_checked(cache / _CONTENTS))
    return contents if all(is_whole(cache / name, size) for name, size in contents["bytes"].items()) else None


def print_if_long(task: str, utterances: int) -> None:
    """Print on stderr that a task on a large set takes minutes, once."""
    if utterances > 1_000_000:
        print(f"{task}: about two minutes per ten million utterances, once", file=sys.stderr)


def _sources(data_dir: Path, dump_dir: Path | None) -> dict[str, Path]:
    """The files of a set by name. Raises UserError naming the missing one and the stage that makes it."""
    files = {name: data_dir / name for name in ("utt2spk", "utt2lang")}
    if dump_dir is None and is_text_set(data_dir):
        del files["utt2spk"]
    elif dump_dir is not None:
        files |= {name: dump_dir / name for name in ("feats.scp", "utt2num_frames")}
    else:
        files |= {name: data_dir / name for name in ("wav.scp", "utt2dur")}
    for path in files.values():
        if not path.is_file():
            advice = "make it with stage fbank" if path.parent == dump_dir else "make it with stage data"
            if path.name in MADE and path.parent == data_dir:
                advice += f", or with: {FIX}{' --lang CODE' if path.name == 'utt2lang' else ''} {data_dir}"
            raise UserError(f"{path}: this file is missing; {advice}")
    if dump_dir is None and "wav.scp" in files and (data_dir / "segments").exists():
        files["segments"] = data_dir / "segments"
    return files | {path.name: path for path in sorted(data_dir.glob("text*")) if path.name.split(".")[0] == "text"}


def _fingerprint(files: dict[str, Path]) -> str:
    states = [(str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns) for path in files.values()]
    return hashlib.blake2b(repr((_VERSION, states)).encode(), digest_size=12).hexdigest()


class _Column:
    """A file that is read in step with utt2spk; `offsets`, if it has them, grow by one for every utterance."""

    def __init__(self, path: Path, reference: Path) -> None:
        self.path, self.reference = path, reference
        self.has_offsets, self.is_empty = path.name not in _READ_FULLY, True
        self.rows = rows_of(path)
        self.row = next(self.rows, None)
        self.offsets = array("q")

    def take(self, utt: bytes) -> Row | None:
        """The row of an utterance, or None where this file has none."""
        row = self.row
        if row is not None and row.id < utt:
            raise self.unknown()
        if row is None or row.id != utt:
            if self.has_offsets:
                self.offsets.append(-1)
            return None
        if self.has_offsets:
            self.offsets.append(row.offset)
        self.row, self.is_empty = next(self.rows, None), False
        return row

    def unknown(self) -> UserError:
        """The error that the current row is of an utterance that the set does not have."""
        return UserError(f"{self.path}:{self.row.number}: `{shown(self.row.id)}` is not in {self.reference}; {remedy(self.path)}")


def _build(files: dict[str, Path], out: Path) -> None:
    """Read all files in step and write one array per file; memory holds no more than the arrays."""
    reference = files.get("utt2spk", files["utt2lang"])  # the file that has a line for every utterance
    recordings = {row.id: row.offset for row in rows_of(files["wav.scp"])} if "segments" in files else None
    excluded = {reference.name} | ({"wav.scp"} if recordings is not None else set())  # already read, or without a line per utterance
    columns = {name: _Column(path, reference) for name, path in files.items() if name not in excluded}
    required = [name for name in columns if not name.startswith("text")]  # texts may lack utterances
    offsets, wav, frames, lang_ids, languages = array("q"), array("q"), array("i"), array("h"), {}
    for row in rows_of(reference):
        rows = {name: column.take(row.id) for name, column in columns.items()}
        for name in required:
            if rows[name] is None:
                raise UserError(f"{reference}:{row.number}: `{shown(row.id)}` has no line in {files[name]}; {remedy(files[name])}")
        offsets.append(row.offset)
        lang_ids.append(languages.setdefault(rows.get("utt2lang", row).value.decode(), len(languages)))
        if len(languages) > LANGUAGES:
            raise UserError(f"{files['utt2lang']}:{row.number}: more than {LANGUAGES} languages; write a code such as en for each")
        frames.append(_frames(files, rows))
        if recordings is not None:
            wav.append(_recording(files, rows["segments"], recordings))
    for column in columns.values():
        if column.row is not None:
            raise column.unknown()
    if not offsets:
        raise UserError(f"{reference}: this set has no utterance")
    arrays = {name: column.offsets for name, column in columns.items() if column.has_offsets and not column.is_empty}
    arrays |= {reference.name: offsets, "frames": frames, "lang_ids": lang_ids}
    if recordings is not None:
        arrays["wav.scp"] = wav
    for name, values in arrays.items():
        write_checked(out / name, values)
    sizes = {name: len(values) * values.itemsize for name, values in arrays.items()}
    contents = {"utterances": len(offsets), "languages": list(languages), "bytes": sizes}
    write_checked(out / _CONTENTS, json.dumps(contents).encode())


def _frames(files: dict[str, Path], rows: dict[str, Row | None]) -> int:
    """The frames of an utterance in utt2num_frames, or else its duration in units of 10 ms; 0 in a text set."""
    if "utt2num_frames" not in rows and "utt2dur" not in rows:
        return 0
    name = "utt2num_frames" if "utt2num_frames" in rows else "utt2dur"
    row = rows[name]
    try:
        frames = int(row.value) if name == "utt2num_frames" else round(100 * float(row.value))
        if not 0 < frames < 2**31:
            raise ValueError
    except (ValueError, OverflowError):
        where = f"{files[name]}:{row.number}: `{shown(row.id)}`"
        raise UserError(f"{where}: `{shown(row.value)}` is not a length; {remedy(files[name])}") from None
    return frames


def _recording(files: dict[str, Path], row: Row, recordings: dict[bytes, int]) -> int:
    """The offset of the recording of a segment in wav.scp."""
    recording = row.value.partition(b"\t")[0].partition(b" ")[0]
    if recording not in recordings:
        where = f"{files['segments']}:{row.number}"
        raise UserError(f"{where}: recording `{shown(recording)}` is not in {files['wav.scp']}; {remedy(files['segments'])}")
    return recordings[recording]
