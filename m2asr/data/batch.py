"""A padded batch of utterances with its targets and the random choices made for it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch

Key = tuple[Hashable, ...]  # (seed, stream, epoch, index): names a batch, and seeds all its random numbers


def target_key(tokens: str, text: str) -> str:
    """The name of a target in a batch: a tokenizer's name and the text file it reads, such as `en_st:text.en`."""
    return f"{tokens}:{text}"


class Portable:
    """Sends the tensors of the fields TENSORS between processes as arrays; for tensors torch would keep one open file each until freed."""

    TENSORS: ClassVar[tuple[str, ...]] = ("tensors",)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, **{name: {key: x.cpu().numpy() for key, x in getattr(self, name).items()} for name in self.TENSORS}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name in self.TENSORS:
            setattr(self, name, {key: torch.from_numpy(x) for key, x in state[name].items()})


@dataclass
class Drawn(Portable):
    """The rows that one view of a batch encodes, with their random choices, made on the host.

    lengths: valid frames or tokens (R,) of every row that is encoded; utterances: the utterance (R,) of each row; tensors: the random
    choices that the device needs.
    """

    lengths: np.ndarray
    utterances: np.ndarray
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    states: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))  # (R,) valid encoder states of every row


@dataclass
class Share(Portable):
    """The data that one objective needs of a batch, prepared on the host.

    weight: the loss sum of a step is divided by the sum of this over its batches; metrics: counts that need no model; tensors: data for
    the device; sizes: numbers of states, tokens and the like, which stay on the host.
    """

    weight: float
    metrics: dict[str, tuple[float, float]] = field(default_factory=dict)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    sizes: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Batch(Portable):
    """Utterances of one stream, padded with zeros at the end.

    inputs: {"feats": (B, T, F) float32} or {tokenizer: (B, U) int64}, lengths: {"feats": (B,) int64}, in frames or tokens.
    targets: {target_key: (B, U) int64}, target_lengths: {target_key: (B,) int64}, where -1 means that the utterance has no such target
    and 0 that its target is empty.
    drawn: by view, and shares: by objective; `System.prepare` makes both on the host.

    Lengths and targets stay on the host; inputs, and the tensors of `drawn` and `shares`, go to the device.
    """

    TENSORS = ("inputs", "lengths", "targets", "target_lengths")

    inputs: dict[str, torch.Tensor]
    lengths: dict[str, torch.Tensor]
    targets: dict[str, torch.Tensor]
    target_lengths: dict[str, torch.Tensor]
    lang: list[str]
    speakers: list[str]
    utt_ids: list[str]
    key: Key
    frame_shift: float = field(default=0.01, kw_only=True)  # seconds between two frames
    token_seconds: float = field(default=1 / 15, kw_only=True)  # seconds that a token counts for, if tokens are read
    drawn: dict[Hashable, Drawn] = field(default_factory=dict, kw_only=True)
    shares: dict[str, Share] = field(default_factory=dict, kw_only=True)

    def __len__(self) -> int:
        return len(self.utt_ids)

    @property
    def seconds(self) -> float:
        """Seconds of speech without padding; for text, the seconds that its tokens count for."""
        kind = "feats" if "feats" in self.lengths else next(iter(self.lengths))
        return self.unit(kind) * int(self.lengths[kind].numpy().sum())

    def unit(self, kind: str) -> float:
        """Seconds that a frame or token of this kind of input counts for."""
        return self.frame_shift if kind == "feats" else self.token_seconds

    def to(self, device: torch.device | str) -> Batch:
        """The same batch for a model on another device."""
        return self._with(lambda x: x.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, from which an accelerator copies without waiting."""
        return self._with(torch.Tensor.pin_memory)

    def _with(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        def changed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {name: change(tensor) for name, tensor in tensors.items()}

        drawn = {view: replace(drawn, tensors=changed(drawn.tensors)) for view, drawn in self.drawn.items()}
        shares = {name: replace(share, tensors=changed(share.tensors)) for name, share in self.shares.items()}
        return replace(self, inputs=changed(self.inputs), drawn=drawn, shares=shares)


def pad(rows: Sequence[np.ndarray]) -> torch.Tensor:
    """Stack arrays (T_b, ...) into one tensor (B, max T_b, ...), zeros at the end."""
    padded = np.zeros((len(rows), max(len(row) for row in rows), *rows[0].shape[1:]), dtype=rows[0].dtype)
    for out, row in zip(padded, rows, strict=True):
        out[: len(row)] = row
    return torch.from_numpy(padded)
