"""Compares loaded data with what is expected: names, shapes and types."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from m2asr.errors import UserError


class Misfit(UserError):
    """Loaded data that does not fit what it is loaded into; the message begins with the name of the first part that does not."""


def check_form(saved: Any, expected: Any, name: str, partial: bool = False) -> None:
    """Raise Misfit unless `saved` has the names, shapes and types of `expected`, and its numbers are finite.

    An empty mapping or list, or None, in `expected` stands for what is not known before training has begun: any mapping, list, or value.
    With `partial`, names may be missing.
    """
    for problem in differences(saved, expected, name, partial):
        raise Misfit(problem)


def differences(saved: Any, expected: Any, name: str, partial: bool = False) -> Iterator[str]:
    """One line for each part of `saved` that is missing, unexpected, or of another shape or type than in `expected`."""
    if expected is None:
        return
    if isinstance(expected, Mapping) and isinstance(saved, Mapping):
        for key in expected:
            if key in saved:
                yield from differences(saved[key], expected[key], f"{name}.{key}", partial)
            elif not partial:
                yield f"{name}.{key} is missing"
        yield from (f"{name}.{key} is not expected" for key in saved if expected and key not in expected)
    elif isinstance(expected, list | tuple) and isinstance(saved, list | tuple):
        if expected and len(saved) != len(expected):
            yield f"{name} has {len(saved)} parts, {len(expected)} are expected"
        else:
            for number, (value, like) in enumerate(zip(saved, expected, strict=False)):
                yield from differences(value, like, f"{name}.{number}", partial)
    elif not _same_type(saved, expected):
        yield f"{name} is {_described(saved)}, {_described(expected)} is expected"
    elif not _finite(saved):
        yield f"{name} holds a number that is not finite"


def is_dense(value: Tensor) -> bool:
    """Whether a tensor holds a number for each of its elements, as all that are trained and saved do."""
    return not value.is_nested and value.layout is torch.strided and not (value.is_meta or value.is_quantized)


def _same_type(saved: Any, expected: Any) -> bool:
    if isinstance(expected, Tensor) and isinstance(saved, Tensor):
        return is_dense(saved) and saved.shape == expected.shape and saved.dtype == expected.dtype
    if isinstance(expected, float):
        return isinstance(saved, int | float) and not isinstance(saved, bool)
    return type(saved) is type(expected)


def _finite(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(value).all())
    return not isinstance(value, float) or math.isfinite(value)


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        if not is_dense(value):
            return "a tensor that is not dense"
        return f"a tensor {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    return {"dict": "a mapping", "NoneType": "nothing"}.get(type(value).__name__, type(value).__name__)
