"""A padded batch of utterances with its targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

Key = tuple[int, str, int, int]  # (seed, stream, epoch, index): names a batch, and seeds all that is random about it


def target_key(tokens: str, text: str) -> str:
    """The name of a target in a batch: a tokenizer's name and the text file it reads, such as `en_st:text.en`."""
    return f"{tokens}:{text}"


@dataclass
class Batch:
    """Utterances of one stream, padded with zeros at the end.

    inputs: {"feats": (B, T, F) float32}, lengths: {"feats": (B,) int64}, in frames.
    targets: {target_key: (B, U) int64}, target_lengths: {target_key: (B,) int64}, where -1 means that the utterance has no such target
    and 0 that its target is empty.
    """

    inputs: dict[str, torch.Tensor]
    lengths: dict[str, torch.Tensor]
    targets: dict[str, torch.Tensor]
    target_lengths: dict[str, torch.Tensor]
    lang: list[str]
    speakers: list[str]
    utt_ids: list[str]
    key: Key
    frame_shift: float = field(default=0.01, kw_only=True)

    def __len__(self) -> int:
        return len(self.utt_ids)

    @property
    def seconds(self) -> float:
        """Seconds of speech without padding."""
        return self.frame_shift * int(self.lengths["feats"].sum())

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return self._with(lambda x: x.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, from which an accelerator copies without waiting."""
        return self._with(torch.Tensor.pin_memory)

    def _with(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        return replace(self, **{name: {key: change(x) for key, x in getattr(self, name).items()} for name in _TENSORS})

    # Tensors travel between processes as plain arrays: torch would keep one open file per tensor until it is freed.
    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, **{name: {key: x.cpu().numpy() for key, x in getattr(self, name).items()} for name in _TENSORS}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name in _TENSORS:
            setattr(self, name, {key: torch.from_numpy(x) for key, x in state[name].items()})


_TENSORS = ("inputs", "lengths", "targets", "target_lengths")


def pad(rows: Sequence[np.ndarray]) -> torch.Tensor:
    """Stack arrays (T_b, ...) into one tensor (B, max T_b, ...), zeros at the end."""
    padded = np.zeros((len(rows), max(len(row) for row in rows), *rows[0].shape[1:]), dtype=rows[0].dtype)
    for out, row in zip(padded, rows, strict=True):
        out[: len(row)] = row
    return torch.from_numpy(padded)
