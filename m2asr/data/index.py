"""Reads any utterance of a set by its offsets in the Kaldi files; memory does not grow with the corpus."""

from __future__ import annotations

import shutil
from array import array
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from m2asr.data.ark import read_matrix
from m2asr.data.audio import DURATION_TOLERANCE, Channel, read_audio
from m2asr.data.checked import is_whole, write_checked
from m2asr.data.index_build import open_cache, print_if_long
from m2asr.data.recordings import Segment
from m2asr.errors import UserError

if TYPE_CHECKING:
    from m2asr.text.tokenizer import Tokenizer


class UtteranceIndex:
    """One set: data/<set> and, where features are stored, dump/<set>. A text set has no recordings, no features and no speakers.

    A cache folder `index/` in dump_dir, or else in data_dir, holds for every utterance the offset of its line in every file, its frames
    and its language. It is built at the first use and again after one of the files has changed.
    Raises UserError (file:line) if ids are unsorted, missing or contradictory.
    """

    def __init__(self, data_dir: str | Path, dump_dir: str | Path | None = None, allow_pipes: bool = False) -> None:
        self.data_dir, self.dump_dir, self.allow_pipes = Path(data_dir), dump_dir and Path(dump_dir), allow_pipes
        self.name, self._width = self.data_dir.name, 0  # features per frame, once any were read
        cache = open_cache(self.data_dir, self.dump_dir)
        self.frames: np.ndarray = cache.frames  # (N,) int32, memory-mapped; of 10 ms where features come from audio
        self.lang_ids: np.ndarray = cache.lang_ids  # (N,) int16, memory-mapped, positions in `languages`
        self.languages: list[str] = cache.languages
        self._cache, self._lines = cache.folder, cache.lines
        self._counts: dict[Path, np.ndarray] = {}  # of tokens, memory-mapped
        self._ids = self._lines.get("utt2spk", self._lines.get("utt2lang"))  # the file that has a line for every utterance

    def __len__(self) -> int:
        return len(self.frames)

    def utt_ids(self, i: int) -> str:
        """The id of utterance i."""
        return self._ids.get(i)[0]

    def speaker(self, i: int) -> str:
        """The speaker of utterance i; in a text set its id."""
        return self._ids.get(i)[1 if "utt2spk" in self._lines else 0]

    def lang(self, i: int) -> str:
        """The language of utterance i."""
        return self.languages[self.lang_ids[i]]

    def has_text(self, name: str = "text") -> bool:
        """Whether any utterance has a line in the file `name`."""
        return name in self._lines

    def text(self, i: int, name: str = "text") -> str | None:
        """The text of utterance i in the file `name` (`text`, `text.de` ...): None if it has no line, "" if the line is empty."""
        return self._value(name, i) if self.has_text(name) else None

    def token_counts(self, name: str, tokenizer: Tokenizer) -> np.ndarray:
        """The number of tokens of every utterance in the file `name`, (N,) int32, 0 without a line; counted once and kept in the cache."""
        if not self.has_text(name):
            return np.zeros(len(self), dtype=np.int32)
        path = self._cache / f"tokens.{name}.{tokenizer.digest}"
        if path not in self._counts:
            if not is_whole(path, 4 * len(self)):
                print_if_long(f"counting the tokens of {self.data_dir / name}", len(self))
                write_checked(path, array("i", (len(tokenizer.encode(self.text(i, name) or "")) for i in range(len(self)))))
            self._counts[path] = np.memmap(path, "<i4", mode="r", shape=len(self))
        return self._counts[path]

    def feats(self, i: int) -> np.ndarray:
        """The stored features of utterance i, float32 (T, F). Raises UserError naming the file and the problem."""
        where = self._value("feats.scp", i)
        path, _, offset = where.rpartition(":")
        if not offset.isdecimal():
            raise UserError(f"{self.dump_dir / 'feats.scp'}: `{where}` is not `file:offset`; make the features again (stage fbank)")
        feats = np.asarray(read_matrix(path, int(offset), self.utt_ids(i)), dtype=np.float32)
        if len(feats) != self.frames[i]:
            raise UserError(f"{where}: {len(feats)} frames, utt2num_frames says {self.frames[i]}; make the features again (stage fbank)")
        self._width = self._width or feats.shape[1]
        if feats.shape[1] != self._width:
            raise UserError(f"{where}: {feats.shape[1]} features per frame, not {self._width}; make the features again (stage fbank)")
        if not np.isfinite(feats).all():
            raise UserError(f"its features are not finite numbers ({where}); look at its recording, then make them again (stage fbank)")
        return feats  # (T, F)

    def audio(self, i: int, channel: Channel = None) -> tuple[np.ndarray, int]:
        """The samples of utterance i, float32 (N,) in [-1, 1], and their rate in Hz; of the `channel`, unless its segment names another.

        Raises UserError naming the file and the problem.
        """
        segment = Segment.parse(self._value("segments", i)) if "segments" in self._lines else Segment(self.utt_ids(i), 0.0)
        wav = self._value("wav.scp", i, segment.recording)
        channel = channel if segment.channel is None else segment.channel
        wave, rate = read_audio(wav, segment.start, segment.end, self.allow_pipes, channel)
        seconds = self.frames[i] / 100
        if len(wave) / rate < seconds - DURATION_TOLERANCE:
            raise UserError(f"{wav}: {len(wave) / rate:.2f} s of audio, utt2dur says {seconds:.2f} s: truncated? fetch the file again")
        return wave, rate

    def _value(self, name: str, i: int, expected: str | None = None) -> str | None:
        """What follows the id in the line of utterance i, or of the id that is `expected`; None if it has no line.

        Raises UserError if the line there is that of another id.
        """
        line, expected = self._lines[name].get(i), expected or self.utt_ids(i)
        if line is None or line[0] == expected:
            return line and line[1]
        shutil.rmtree(self._cache, ignore_errors=True)  # the next run makes a new one
        path = self._lines[name].path
        raise UserError(f"{path}: the line of {expected} is not where it was when the file was indexed; it has changed, run this again")
