"""Reads any utterance of a set by its offsets in the Kaldi files; memory does not grow with the corpus."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from m2asr.data.ark import read_matrix
from m2asr.data.audio import DURATION_TOLERANCE, Channel, read_audio
from m2asr.data.index_build import open_cache, print_if_long
from m2asr.data.recordings import Segment
from m2asr.errors import UserError
from m2asr.files import open_atomic

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
        self.name = self.data_dir.name
        cache = open_cache(self.data_dir, self.dump_dir)
        self.frames: np.ndarray = cache.frames  # (N,) int32, memory-mapped; of 10 ms where features come from audio
        self.lang_ids: np.ndarray = cache.lang_ids  # (N,) int16, memory-mapped, positions in `languages`
        self.languages: list[str] = cache.languages
        self._cache, self._lines = cache.folder, cache.lines
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
        line = self._lines[name].get(i) if self.has_text(name) else None
        return None if line is None else line[1]

    def token_counts(self, name: str, tokenizer: Tokenizer) -> np.ndarray:
        """The number of tokens of every utterance in the file `name`, (N,) int32, 0 without a line; counted once and kept in the cache."""
        if not self.has_text(name):
            return np.zeros(len(self), dtype=np.int32)
        path = self._cache / f"tokens.{name}.{tokenizer.digest}"
        if not path.exists():
            print_if_long(f"counting the tokens of {self.data_dir / name}", len(self))
            with open_atomic(path, "wb") as file:
                file.write(array("i", (len(tokenizer.encode(self.text(i, name) or "")) for i in range(len(self)))))
        return np.memmap(path, "<i4", mode="r")

    def feats(self, i: int) -> np.ndarray:
        """The stored features of utterance i, float32 (T, F). Raises UserError naming the file and the problem."""
        _, where = self._lines["feats.scp"].get(i)
        path, _, offset = where.rpartition(":")
        if not offset.isdecimal():
            raise UserError(f"{self.dump_dir / 'feats.scp'}: `{where}` is not `file:offset`; make the features again (stage fbank)")
        feats = np.asarray(read_matrix(path, int(offset)), dtype=np.float32)
        if len(feats) != self.frames[i]:
            raise UserError(f"{where}: {len(feats)} frames, utt2num_frames says {self.frames[i]}; make the features again (stage fbank)")
        return feats  # (T, F)

    def audio(self, i: int, channel: Channel = None) -> tuple[np.ndarray, int]:
        """The samples of utterance i, float32 (N,) in [-1, 1], and their rate in Hz; of the `channel`, unless its segment names another.

        Raises UserError naming the file and the problem.
        """
        _, wav = self._lines["wav.scp"].get(i)
        segment = Segment.parse(self._lines["segments"].get(i)[1]) if "segments" in self._lines else Segment("", 0.0)
        channel = channel if segment.channel is None else segment.channel
        wave, rate = read_audio(wav, segment.start, segment.end, self.allow_pipes, channel)
        seconds = self.frames[i] / 100
        if len(wave) / rate < seconds - DURATION_TOLERANCE:
            raise UserError(f"{wav}: {len(wave) / rate:.2f} s of audio, utt2dur says {seconds:.2f} s: truncated? fetch the file again")
        return wave, rate
