"""Multiplies gradients where they enter theta: every path from a loss back into theta passes here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from m2asr.models.encoded import Encoded
from m2asr.objectives.view import View


def gate(
    encoded: Mapping[View, Encoded], factor: float = 1.0, cut: bool = False, taps: Collection[str] | None = None
) -> dict[View, Encoded]:
    """The same states, through which gradients go back into theta multiplied by `factor`; a factor of 0 stops them.

    With `cut` they stop at these states, in `.grad`, and `gradients_at` gives what is to go on. `taps` are those whose states come from
    theta, all by default; gradients of others are left as they are.
    """

    def leave(tap: str, state: Tensor) -> Tensor:
        if not state.requires_grad:
            return state
        state = state.detach().requires_grad_() if cut else state
        return state if factor == 1 or (taps is not None and tap not in taps) else scale_gradient(state, factor)

    return {view: replace(read, states={tap: leave(tap, state) for tap, state in read.states.items()}) for view, read in encoded.items()}


def gradients_at(read: Mapping[View, Encoded]) -> dict[tuple[View, str], Tensor]:
    """The gradients at the states behind a gate with `cut`, by view and tap."""
    return {(view, tap): state.grad for view, encoded in read.items() for tap, state in encoded.states.items() if state.grad is not None}


@contextmanager
def crossing(modules: Iterable[nn.Module], factor: float) -> Iterator[None]:
    """Within the block these modules of theta may be called by a head: their weights get gradients multiplied by `factor`.

    Gradients are multiplied where they enter a module, and divided again where they leave it towards its inputs. So the weights of the
    head, before the module or after it, keep their plain gradient. A factor of 0 leaves nothing to divide: then weights
    before the module get 0 as well.
    """

    def enter(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        inverse = 1 / factor if factor else 1.0
        return _scaled(args, inverse), {key: _scaled(value, inverse) for key, value in kwargs.items()}

    with ExitStack() as hooks:
        for module in modules if factor != 1 else ():
            hooks.callback(module.register_forward_pre_hook(enter, with_kwargs=True).remove)
            hooks.callback(module.register_forward_hook(lambda _module, _args, result: _scaled(result, factor)).remove)
        yield


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """`x` itself going forward; going backward its gradient times `factor`, where 0 gives exact zeros."""
    return _ScaleGradient.apply(x, factor)


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return (gradient * ctx.factor if ctx.factor != 0 else torch.zeros_like(gradient)), None


def _scaled(value: Any, factor: float) -> Any:
    if isinstance(value, Tensor):
        return scale_gradient(value, factor) if value.requires_grad else value
    if isinstance(value, tuple | list):
        return type(value)(_scaled(item, factor) for item in value)
    return value
