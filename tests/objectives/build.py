"""Small systems and batches that several tests share."""

from __future__ import annotations

from collections.abc import Collection

import torch

from m2asr.data.batch import Batch, Share
from m2asr.models.encoded import Encoded
from m2asr.objectives.build import build_system, resolve
from m2asr.objectives.objective import Loss
from m2asr.objectives.system import System
from m2asr.objectives.view import View
from m2asr.train_config import TrainConfig

VOCAB = {"a": 12, "b": 9}


def config(**changes: object) -> TrainConfig:
    """Two recognition streams, one translation beside one of them, CPC below."""
    data = {
        "model": {
            "encoder": {"type": "conformer", "blocks": 2, "dim": 16, "heads": 2, "kernel": 5, "subsampling": "dwconv", "dropout": 0.0},
            "cmvn": "none",
            "specaugment": None,
        },
        "streams": {"x": {"sets": ["x"]}, "y": {"sets": ["y"]}, "raw": {"sets": ["x", "y"]}},
        "tokens": {"a": {"sets": ["x"]}, "b": {"sets": ["y"]}},
        "objectives": {
            "asr_x": {"type": "ctc", "stream": "x", "tokens": "a"},
            "asr_y": {"type": "ctc", "stream": "y", "tokens": "b"},
            "st_y": {"type": "ctc", "stream": "y", "tokens": "a", "text": "text.x"},
            "cpc": {"type": "cpc", "stream": "raw", "level": "lower", "context": 0.4, "future": 0.3},
        },
        "penalty": {"start": 0.0, "end": 0.2},
    }
    data |= changes
    if not any(objective.get("level") == "lower" for objective in data["objectives"].values()) and "penalty" not in changes:
        data["penalty"] = None
    return resolve(TrainConfig.model_validate(data))


def system(dtype: torch.dtype = torch.float64, **changes: object) -> System:
    """The system of `config`, the same at every call."""
    torch.manual_seed(0)
    return build_system(config(**changes), VOCAB, feat_dim=8).to(dtype)


def batch(
    frames: list[int],
    targets: dict[str, list[list[int] | None]],
    seed: int = 0,
    langs: list[str] | None = None,
    dtype: torch.dtype = torch.float64,
) -> Batch:
    """Utterances of noise with given lengths; a target of None is missing."""
    generator = torch.Generator().manual_seed(seed)
    feats = torch.zeros(len(frames), max(frames), 8, dtype=dtype)
    for row, length in enumerate(frames):
        feats[row, :length] = torch.randn(length, 8, generator=generator, dtype=torch.float64).to(dtype)
    padded, lengths = {}, {}
    for key, rows in targets.items():
        padded[key] = torch.zeros(len(rows), max([1, *(len(row or []) for row in rows)]), dtype=torch.long)
        for index, row in enumerate(rows):
            padded[key][index, : len(row or [])] = torch.tensor(row or [], dtype=torch.long)
        lengths[key] = torch.tensor([-1 if row is None else len(row) for row in rows])
    names = [f"utt{row}" for row in range(len(frames))]
    return Batch(
        inputs={"feats": feats},
        lengths={"feats": torch.tensor(frames)},
        targets=padded,
        target_lengths=lengths,
        lang=langs or ["en"] * len(frames),
        speakers=names,
        utt_ids=names,
        key=(1, "x", 0, seed),
    )


def draw(seed: int = 0, dtype: torch.dtype = torch.float64) -> dict[str, list[Batch]]:
    """One micro-batch for each stream of `config`."""
    x = batch([120, 90, 77], {"a:text": [[2, 3, 3, 4], [5, 6], [7]]}, seed, dtype=dtype)
    y = batch([100, 81], {"b:text": [[1, 2], [3, 4, 5]], "a:text.x": [[2, 2, 3], None]}, seed + 1, dtype=dtype)
    raw = batch([130, 100, 99, 40], {}, seed + 2, ["en", "en", "it", "it"], dtype=dtype)
    return {"x": [x], "y": [y], "raw": [raw]}


def encode(system: System, batch: Batch, view: View | None = None, taps: Collection[str] = ("output",)) -> Encoded:
    """The states of one view of a batch."""
    view = view or View()
    return system.encode(system.prepare(batch, views=[view]), view, taps)


def learn(system: System, batch: Batch, name: str) -> tuple[Share, Loss | None, dict[View, Encoded]]:
    """The share of an objective in a batch, its loss (None if the share has no weight), and the states that it reads."""
    objective, share = system.objectives[name], system.prepare(batch, [name]).shares[name]
    taps_by_view = {view: [tap for read_view, tap in objective.reads if read_view == view] for view in objective.views}
    encoded = {view: system.encode(batch, view, taps_of_view) for view, taps_of_view in taps_by_view.items()}
    return share, objective(encoded, share) if share.weight > 0 else None, encoded


def dev_error(system: System, batch: Batch, name: str) -> tuple[float, float]:
    """The metric `error` of an objective on one batch of a dev set: errors and their divisor."""
    _, loss, encoded = learn(system.eval(), batch, name)
    error, count = system.objectives[name].dev_metrics(encoded, batch, loss)["error"]
    return float(error), count
