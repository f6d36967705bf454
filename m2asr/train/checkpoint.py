"""Checkpoints that are whole or absent, hold tensors and plain values only, and say clearly why they cannot be used."""

from __future__ import annotations

import math
import os
import pickle
import re
import shutil
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from m2asr.errors import UserError
from m2asr.files import open_atomic, open_input
from m2asr.form import Misfit, check_form, is_dense
from m2asr.unpacking import check_stored

FORMAT = 2
LAST, PREVIOUS = "last.pt", "previous.pt"


class Damaged(UserError):
    """A checkpoint that was cut off or changed after it was written."""


def save(folder: Path, state: Mapping[str, Any]) -> None:
    """Write last.pt and keep the one before as previous.pt; at every moment one of them is whole.

    Raises UserError on a full disk, with both old files in place.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".*.tmp"):  # of a process that was killed while it wrote
        leftover.unlink()
    last = folder / LAST
    link = folder / f".{PREVIOUS}.tmp"
    if last.exists():
        _link_or_copy(last, link)  # under which the file stays when last.pt is replaced
    write(last, state)
    if link.exists():
        os.replace(link, folder / PREVIOUS)


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Write one file as a whole. Raises UserError on a full disk, TypeError for a value that `load` would refuse."""
    _check_plain(state, "state")
    try:
        with open_atomic(path, "wb") as file:
            torch.save({"format": FORMAT, **state}, file)
    except (OSError, RuntimeError) as error:
        reason = error if isinstance(error, OSError) else error.__context__  # torch's zip writer covers a failed write with its own error
        if not isinstance(reason, OSError):
            raise
        where = next(parent for parent in path.absolute().parents if parent.is_dir())
        free = shutil.disk_usage(where).free / 2**20
        what = f"cannot write: {reason.strerror} ({free:.0f} MB free)"
        raise UserError(f"{path}: {what}; what was there before is kept, make room and run again") from None


def load(path: Path, needs: Sequence[str] = ()) -> dict[str, Any]:
    """Read a file that `write` made, as data only; it has the parts that a caller `needs`.

    Raises Damaged where it is cut off or changed, UserError where it is missing, of another kind, or holds code.
    """
    try:
        _check_complete(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except pickle.UnpicklingError as error:
        match = re.search(r"GLOBAL ([\w.]+)", str(error))
        contents = "it holds more than tensors and plain values" + (f" (`{match[1]}`)" if match else "")
        raise UserError(f"{path}: refused: {contents} and could run code; nothing was run, use a file made by this toolkit") from None
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror}; check the path and its permissions") from None
    except (RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError, AssertionError, OverflowError):
        state = None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(_foreign(path))
    for part in ("model", "config"):
        if not isinstance(state.get(part, None if part in needs else {}), dict):
            raise Damaged(f"{path}: its part `{part}` is missing, or no mapping; restore the file from a copy")
    if broken := [name for name, value in state.get("model", {}).items() if not isinstance(value, Tensor) or not is_dense(value)]:
        raise Damaged(f"{path}: model.{broken[0]} is no dense tensor; the file was changed, remove it, or restore it from a copy")
    if isinstance(state.get("model"), dict):  # older files name shared decoders so; now every module has its own name alone
        state["model"] = {name.removeprefix("decoders."): value for name, value in state["model"].items()}
    return state


def load_latest(folder: Path, restore: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any] | None:
    """The newest whole checkpoint of a run, or None where there is none; a damaged last.pt is reported and previous.pt used.

    `restore` gives the parts of the checkpoint to a run; one with a part that does not fit counts as damaged.
    """
    present = [folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    for number, path in enumerate(present, start=1):
        try:
            state = load(path)
            if restore is not None:
                _restore(state, restore, path)
            return state
        except Damaged as error:
            if number == len(present):
                raise
            print(f"warning: {error}; going on from {present[number]}", file=sys.stderr)
    return None


def _restore(state: dict[str, Any], restore: Callable[[dict[str, Any]], None], path: Path) -> None:
    try:
        restore(state)
    except Misfit as error:
        raise Damaged(f"{path}: damaged, or of another revision: {error}") from None
    except (KeyError, TypeError, ValueError, IndexError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise Damaged(f"{path}: damaged, or of another revision: {type(error).__name__}: {reason}") from error


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], where: Path) -> None:
    """Copy weights into a module. Raises Misfit naming what does not fit where they belong to another model."""
    state = module.state_dict()
    problems = [f"{key} is missing" for key in state if key not in weights]
    problems += [f"{key} is not in this model" for key in weights if key not in state]
    there = {key: (tuple(value.shape), value.dtype) for key, value in weights.items()}
    here = {key: (tuple(value.shape), value.dtype) for key, value in state.items()}
    for key in state:
        if key in there and there[key] != here[key]:
            kind = int(there[key][0] == here[key][0])  # the shape, or else the type
            problems.append(f"{key} is {there[key][kind]} there and {here[key][kind]} here")
        elif key in there and not torch.isfinite(weights[key]).all():
            problems.append(f"{key} is not finite")
    if problems:
        first = "; ".join(problems[:3])
        raise Misfit(f"{where}: the weights of another model: {first} ({len(problems)} differences); use the config it was trained with")
    module.load_state_dict(weights)


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
        self.scores = {best: self.scores[best] for best in self.ranking()[: self.count]}
        if epoch in self.scores:
            write(self.path(epoch), {"model": dict(weights), "config": config})

    def ranking(self) -> list[int]:
        """The kept epochs, best first."""
        return sorted(self.scores, key=self._rank)

    def _rank(self, epoch: int) -> tuple[float, int]:
        score = self.scores[epoch]
        return (math.inf if math.isnan(score) else score, -epoch)  # NaN compares with nothing, so it must not reach the order

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
        check_form(state, {}, "best")
        if bad := [epoch for epoch, score in state.items() if not str(epoch).isdecimal() or type(score) not in (int, float)]:
            raise Misfit(f"best: the score of epoch `{bad[0]}` is no number")
        self.scores = {int(epoch): score for epoch, score in state.items()}


def _check_complete(path: Path) -> None:
    """A checkpoint is a zip archive: its table stands at the end, and its members have checksums, which torch does not compare."""
    with open_input(path) as file:
        start = file.read(4)
    if start not in (b"PK\x03\x04", b"", bytes(4)):  # zeros: the machine went down before the data reached the disk
        raise UserError(_foreign(path))
    try:
        check_stored(path)
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError):
        broken = path.name
    if broken:
        raise Damaged(f"{path}: damaged or half-written; remove it, or restore it from a copy")


def _link_or_copy(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:  # file systems without hard links
        shutil.copyfile(path, target)


def _foreign(path: Path) -> str:
    return f"{path}: not a checkpoint of this toolkit (no format {FORMAT}); give a model.pt or a file of checkpoints/"


def _check_plain(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _check_plain(key, where)
            _check_plain(item, f"{where}.{key}")
    elif type(value) in (list, tuple):
        for index, item in enumerate(value):
            _check_plain(item, f"{where}.{index}")
    elif not isinstance(value, Tensor) and type(value) not in (str, int, float, bool, type(None)):
        raise TypeError(f"{where}: a checkpoint holds tensors and plain values, not {type(value).__name__}")
