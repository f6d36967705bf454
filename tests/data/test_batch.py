"""Batches on their way: what goes to a device and what stays, and between processes."""

from __future__ import annotations

import pickle
from dataclasses import fields

import numpy as np
import pytest
import torch

from m2asr.data.batch import Batch, Drawn, Share, pad
from m2asr.objectives.view import Mask, View
from tests.objectives import build

OBJECTIVES = {
    "plain": {"type": "ctc", "stream": "x", "tokens": "a"},
    "masked": {"type": "ctc", "stream": "x", "tokens": "a", "view": {"mask": {"probability": 0.3, "length": 2}}},
    "cpc": {"type": "cpc", "stream": "x", "context": 0.4, "future": 0.3},
}


@pytest.fixture
def prepared() -> Batch:
    """A batch with everything that is drawn for it; one target has no alignment."""
    batch = build.batch([130, 90, 40], {"a:text": [[2, 3], None, list(range(1, 12))]})
    return build.system(objectives=OBJECTIVES).prepare(batch, OBJECTIVES)


def same(a: object, b: object) -> bool:
    """Equal values of equal types, all the way down."""
    if isinstance(a, torch.Tensor):
        return type(a) is type(b) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return type(a) is type(b) and a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(value, b[key]) for key, value in a.items())
    if isinstance(a, Batch | Drawn | Share):
        return type(a) is type(b) and all(same(getattr(a, attribute.name), getattr(b, attribute.name)) for attribute in fields(a))
    return a == b


def test_a_prepared_batch_arrives_in_another_process_as_it_was(prepared: Batch) -> None:
    arrived = pickle.loads(pickle.dumps(prepared))
    assert set(prepared.shares) == set(OBJECTIVES) and View(mask=Mask(0.3, 2)) in prepared.drawn
    assert same(prepared, arrived) and not same(prepared, build.batch([130, 90, 40], {}))


def test_no_tensor_travels_as_one(prepared: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch keeps a file open for each that a process sends to another."""

    def refuse(*_: object) -> None:
        raise AssertionError("a tensor is pickled")

    monkeypatch.setattr(torch.Tensor, "__reduce_ex__", refuse)
    pickle.dumps(prepared)


def test_only_what_a_model_needs_goes_to_the_device(prepared: Batch) -> None:
    moved = prepared.to("meta")
    on_device = [*moved.inputs.values()]
    for data in (*moved.drawn.values(), *moved.shares.values()):
        on_device += data.tensors.values()
    assert len(on_device) > 10 and all(tensor.is_meta for tensor in on_device)
    for name in ("lengths", "targets", "target_lengths"):
        assert same(getattr(prepared, name), getattr(moved, name))
    for view, drawn in prepared.drawn.items():
        assert same(drawn.states, moved.drawn[view].states) and not any(tensor.is_meta for tensor in drawn.tensors.values())
    assert moved.shares["plain"].weight == prepared.shares["plain"].weight and moved.key == prepared.key
    assert not prepared.inputs["feats"].is_meta


def test_padding_is_zeros_at_the_end() -> None:
    rows = [np.ones((2, 3), dtype=np.float32), np.ones((4, 3), dtype=np.float32)]
    assert pad(rows).sum((1, 2)).tolist() == [6, 12] and pad(rows)[0, 2:].abs().sum() == 0
