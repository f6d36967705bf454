"""The utterances of a stream: its sets joined, with inputs and targets, read by number into padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch

from m2asr.data.batch import Batch, Key, pad, target_key
from m2asr.data.feats import AudioFeats, StoredFeats
from m2asr.data.index import UtteranceIndex
from m2asr.errors import UserError

if TYPE_CHECKING:
    from m2asr.text.tokenizer import Tokenizer


STORED = StoredFeats()


class ConcatIndex:
    """The utterances of some sets, numbered from 0 across the sets; languages are joined by their names."""

    def __init__(self, indexes: Sequence[UtteranceIndex]) -> None:
        self.indexes = list(indexes)
        self.languages = sorted({lang for index in self.indexes for lang in index.languages})
        self._starts = np.cumsum([0] + [len(index) for index in self.indexes])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def frames(self) -> np.ndarray:
        """(N,) int32. Joined at every call, like `lang_ids`: only planning reads it, and afterwards its memory is free."""
        return _joined([index.frames for index in self.indexes])

    @property
    def lang_ids(self) -> np.ndarray:
        """(N,) int16, positions in `languages`."""
        maps = [np.array([self.languages.index(lang) for lang in index.languages], dtype=np.int16) for index in self.indexes]
        return _joined([names[index.lang_ids] for names, index in zip(maps, self.indexes, strict=True)])

    def find(self, number: int) -> tuple[UtteranceIndex, int]:
        """The set of an utterance and its number there."""
        number_of_set = int(np.searchsorted(self._starts, number, side="right")) - 1
        return self.indexes[number_of_set], int(number - self._starts[number_of_set])


Texts = Sequence[tuple[str, str, "Tokenizer"]]  # tokenizer's name, text file, tokenizer


class Source:
    """The utterances and targets of one stream.

    Args:
        name: of the stream.
        indexes: its sets.
        targets: texts that objectives write.
        frame_shift: seconds between two frames.
        feats: the source of features; None if only tokens are read.
        tokens: texts that are read instead of features, or beside them.
        token_seconds: seconds that a token counts for, if tokens are read.
    """

    def __init__(
        self,
        name: str,
        indexes: Sequence[UtteranceIndex],
        targets: Texts = (),
        frame_shift: float = 0.01,
        feats: StoredFeats | AudioFeats | None = STORED,
        tokens: Texts = (),
        token_seconds: float = 1 / 15,
    ) -> None:
        self.name, self.index, self.frame_shift, self.token_seconds = name, ConcatIndex(indexes), frame_shift, token_seconds
        self.targets = {target_key(name, text): (text, tokenizer) for name, text, tokenizer in targets}
        self.tokens = {target_key(name, text): (text, tokenizer) for name, text, tokenizer in tokens}
        self.feats = feats

    def __len__(self) -> int:
        return len(self.index)

    @property
    def speeds(self) -> list[float]:
        """The speeds at which utterances are played, all equally likely."""
        return [1.0] if self.feats is None else self.feats.speeds

    @property
    def frames(self) -> np.ndarray:
        """The frames of utterances at the slowest speed, which are the most that they may have, (N,) int32."""
        return self.frames_at(min(self.speeds))

    def frames_at(self, speed: float) -> np.ndarray:
        """The frames of utterances that are played at a speed, (N,) int32; for texts, the frames that their tokens count for."""
        if self.feats is None:
            return np.ceil(self.tokens_in(next(iter(self.tokens))) * (self.token_seconds / self.frame_shift)).astype(np.int32)
        return self.feats.frames(self.index.frames, speed)

    def frames_of(self, numbers: np.ndarray) -> np.ndarray:
        """The frames at speed 1 of the utterances `numbers` (K,), (K,) int64."""
        utterances = [self.index.find(number) for number in numbers.tolist()]
        if self.feats is not None:
            return np.array([index.frames[i] for index, i in utterances], dtype=np.int64)
        text, tokenizer = next(iter(self.tokens.values()))
        counts = np.array([index.token_counts(text, tokenizer)[i] for index, i in utterances])
        return np.ceil(counts * (self.token_seconds / self.frame_shift)).astype(np.int64)

    def tokens_in(self, key: str) -> np.ndarray:
        """The number of tokens of every utterance in the text of this key, an input or a target, (N,) int32."""
        text, tokenizer = (self.tokens | self.targets)[key]
        return _joined([index.token_counts(text, tokenizer) for index in self.index.indexes])

    def token_counts(self) -> np.ndarray:
        """Tokens of all targets together per utterance, (N,) int32."""
        return sum((self.tokens_in(key) for key in self.targets), np.zeros(len(self), dtype=np.int32))

    def load(self, numbers: Sequence[int] | np.ndarray, key: Key, refill: bool = True) -> tuple[Batch | None, list[str]]:
        """The batch of these utterances, and one message per utterance that could not be read.

        If none can be read, the next readable utterance replaces them, so that every process has its batch; without `refill`, or if a
        hundred in a row cannot be read, the batch is None.
        """
        good: list[tuple[int, dict[str, np.ndarray]]] = []  # utterance number, its inputs
        bad: list[str] = []
        substitutes = ((numbers[-1] + step) % len(self) for step in range(1, min(100, len(self)) if refill else 0))
        for number in map(int, chain(numbers, substitutes)):
            if good and len(good) + len(bad) >= len(numbers):
                break
            index, i = self.index.find(number)
            try:
                good.append((number, self._read(index, i, np.random.default_rng((key[0], key[2], key[3], number)))))
            except UserError as error:
                bad.append(f"set {index.name}, utterance {index.utt_ids(i)}: {error}")
        return (self._batch(*zip(*good, strict=True), key) if good else None), bad

    def _read(self, index: UtteranceIndex, i: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The inputs of an utterance by kind. Raises UserError if one of them is missing."""
        inputs = {} if self.feats is None else {"feats": self.feats(index, i, rng)}
        for kind, (text, tokenizer) in self.tokens.items():
            line = index.text(i, text)
            if line is None:
                raise UserError(f"it has no line in {index.data_dir / text}, which is read; give it one, or take it out of the set")
            inputs[kind] = np.array(tokenizer.encode(line), dtype=np.int64)
        return inputs

    def _batch(self, numbers: Sequence[int], inputs: Sequence[dict[str, np.ndarray]], key: Key) -> Batch:
        utterances = [self.index.find(number) for number in numbers]
        encoded = [self._encode(number) for number in numbers]
        targets, target_lengths = {}, {}
        for name in self.targets:
            targets[name] = pad([np.array(row[name] or [], dtype=np.int64) for row in encoded])  # (B, U)
            target_lengths[name] = torch.tensor([-1 if row[name] is None else len(row[name]) for row in encoded])  # (B,)
        return Batch(
            inputs={kind: pad([row[kind] for row in inputs]) for kind in inputs[0]},  # (B, T, F) or (B, U)
            lengths={kind: torch.tensor([len(row[kind]) for row in inputs]) for kind in inputs[0]},  # (B,)
            targets=targets,
            target_lengths=target_lengths,
            lang=[index.lang(i) for index, i in utterances],
            speakers=[index.speaker(i) for index, i in utterances],
            utt_ids=[index.utt_ids(i) for index, i in utterances],
            key=key,
            frame_shift=self.frame_shift,
            token_seconds=self.token_seconds,
        )

    def _encode(self, number: int) -> dict[str, list[int] | None]:
        """Token ids per target of an utterance; None if it has no such text."""
        index, i = self.index.find(number)
        texts = {name: index.text(i, text) for name, (text, _) in self.targets.items()}
        return {name: None if text is None else self.targets[name][1].encode(text) for name, text in texts.items()}


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)  # a single array stays memory-mapped
