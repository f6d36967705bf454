"""Checkpoints that are whole or absent, hold tensors and plain values only, and say clearly why they cannot be used."""

from __future__ import annotations

import errno
import math
import os
import pickle
import shutil
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from m2asr.errors import UserError
from m2asr.files import open_atomic

FORMAT = 1
LAST, PREVIOUS = "last.pt", "previous.pt"
FREE = {"train.epochs", "train.log_every", "train.workers", "train.save_every", "train.max_skipped", "train.max_bad", "train.average_best"}


def save(folder: Path, state: Mapping[str, Any]) -> None:
    """Write last.pt and keep the one before as previous.pt; at every moment one of them is whole.

    Raises UserError on a full disk, with both old files in place.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / LAST
    link = folder / f".{PREVIOUS}.tmp"
    if last.exists():
        link.unlink(missing_ok=True)
        os.link(last, link)  # the file stays under its second name when last.pt is replaced
    write(last, state)
    if link.exists():
        os.replace(link, folder / PREVIOUS)


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Write one file as a whole. Raises UserError on a full disk."""
    try:
        with open_atomic(path, "wb") as file:
            torch.save({"format": FORMAT, **state}, file)
    except (OSError, RuntimeError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        # torch reports a write that failed as a RuntimeError of its zip writer
        if not full and not (isinstance(error, RuntimeError) and "unexpected pos" in str(error)):
            raise
        free = shutil.disk_usage(path.parent).free / 2**20
        raise UserError(f"{path}: cannot write: no space ({free:.0f} MB free); what was there before is kept, free some space and run again") from None


def load(path: Path) -> dict[str, Any]:
    """Read a file that `write` made. Raises UserError where it is damaged, of another kind, or holds code."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except pickle.UnpicklingError as error:
        if "Unsupported global" in str(error) or "Unsupported operand" in str(error) or "weights_only" in str(error).lower():
            raise UserError(f"{path}: refused: it holds more than tensors and plain values and could run code; use a file made by this toolkit") from None
        raise UserError(_damaged(path)) from None
    except (RuntimeError, EOFError, OSError, zipfile.BadZipFile, ValueError, KeyError, AttributeError):
        raise UserError(_damaged(path)) from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"{path}: not a checkpoint of this toolkit (no format {FORMAT}); give a model.pt or a file of checkpoints/")
    return state


def load_latest(folder: Path) -> dict[str, Any] | None:
    """The newest whole checkpoint of a run, or None where there is none; a damaged last.pt is reported and previous.pt used."""
    present = [folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    for place, path in enumerate(present):
        try:
            return load(path)
        except UserError as error:
            if place + 1 == len(present):
                raise
            print(f"warning: {error}; going on from {present[place + 1]}", file=sys.stderr)
    return None


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], where: Path) -> None:
    """Copy weights into a module. Raises UserError naming what does not fit where they belong to another model."""
    own = module.state_dict()
    problems = [f"{key} is missing" for key in own if key not in weights]
    problems += [f"{key} is not in this model" for key in weights if key not in own]
    problems += [
        f"{key} is {tuple(weights[key].shape)} there and {tuple(own[key].shape)} here" for key in own if key in weights and own[key].shape != weights[key].shape
    ]
    if problems:
        raise UserError(f"{where}: the weights of another model: {'; '.join(problems[:3])} ({len(problems)} differences); use the config it was trained with")
    module.load_state_dict(weights)


def compare_config(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Dotted names of the values that differ, but for those that may change when a run goes on."""
    before, after = _flat(old), _flat(new)
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key) and key not in FREE)


class BestCheckpoints:
    """Keeps the weights of the `count` epochs with the smallest scores as epoch<k>.pt; not-a-number counts as worst."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        self.scores: dict[int, float] = {}

    def path(self, epoch: int) -> Path:
        """Where the weights of an epoch lie."""
        return self.folder / f"epoch{epoch}.pt"

    def add(self, epoch: int, score: float, weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
        """Keep an epoch if it is among the best; equal scores favour the later epoch."""
        self.scores[epoch] = score
        ranking = sorted(self.scores, key=lambda one: (math.isnan(self.scores[one]), self.scores[one], -one))
        self.scores = {one: self.scores[one] for one in ranking[: self.count]}
        if epoch in self.scores:
            write(self.path(epoch), {"model": dict(weights), "config": config})

    def clean(self) -> None:
        """Delete the weights of epochs that fell out; to be called when the checkpoint that names the rest is on the disk."""
        for path in self.folder.glob("epoch*.pt"):
            if path.stem.removeprefix("epoch") not in map(str, self.scores):
                path.unlink()

    def state_dict(self) -> dict[str, float]:
        """Scores by epoch."""
        return {str(epoch): score for epoch, score in self.scores.items()}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on with the epochs of a checkpoint."""
        self.scores = {int(epoch): score for epoch, score in state.items()}


def _damaged(path: Path) -> str:
    return f"{path}: damaged or half-written; remove it, or restore it from a copy"


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in data.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return found
