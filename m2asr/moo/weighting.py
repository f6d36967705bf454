"""The base class of weightings, which decide how gradients are merged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from m2asr.errors import UserError
from m2asr.moo.normalize import Normalize, gradient_lengths


class Weighting(ABC):
    """Turns the inner products of the objectives' gradients into one weight per objective.

    The shared parameters move along sum_m w_m g_m. A subclass says how many independent batches a step needs (`draws`),
    whether it looks at gradients at all (`dynamic`), and computes the weights in `solve`. M equal gradients get weights
    that sum to 1 (Static: the given weights). Weightings that look at losses read them in `after_step`.

    Args:
        objectives: names of the objectives, in the order of the Gramian's rows.
    """

    draws: int = 1  # 2: `gramian` is the cross-Gramian of two independent batches; 3: the update comes from a third one
    dynamic: bool = True  # False: the weights are known before any gradient, so one backward pass serves all objectives
    recalls: bool = False  # True: the weights also depend on gradients of earlier steps
    tracks: bool = False  # True: running means of gradients are weighted and merged, in which the newest has the share `beta`
    beta: float = 1.0
    normalize: Normalize = "none"  # what gradients are divided by before they are weighted, set by `build_weighting`

    def __init__(self, objectives: list[str]) -> None:
        self.objectives = list(objectives)

    def weights(
        self,
        gramian: Tensor | None = None,
        active: Sequence[int] | None = None,
        squared_norms: Tensor | None = None,
        losses: Tensor | None = None,
    ) -> Tensor:
        """The weights of this step; a weighting with state moves it by one step.

        Args:
            gramian: G G^T (M, M), or G_1 G_2^T where `draws` is above 1; static weights need none.
            active: objectives that have a target in this step, default all. The others get weight 0 and keep their state.
            squared_norms: squared lengths of the gradients (M,), of which a cross-Gramian's diagonal, the default, is only
                an estimate.
            losses: mean losses (M,) of this step, which `normalize: loss` and `loss+` need.

        Returns:
            Weights (M,), float64 on the CPU.

        Raises:
            FloatingPointError: an active objective's gradient is not finite; the state is as before.
        """
        weights = torch.zeros(len(self.objectives), dtype=torch.float64)
        index = self.index(active)
        if len(index) == 0:
            return weights
        if gramian is not None:
            gramian = self._finite(gramian.detach().to("cpu", torch.float64)[index][:, index])
            norms = gramian.diagonal().abs() if squared_norms is None else squared_norms.detach().to("cpu", torch.float64)[index]
            squared_norms = self._finite(norms)
        if gramian is None or self.normalize == "none":
            weights[index] = self.solve(index, gramian, squared_norms)
        else:
            lengths = gradient_lengths(self.normalize, squared_norms, None if losses is None else losses.double().cpu()[index])
            raw = self.solve(index, gramian / lengths.outer(lengths), squared_norms / lengths.square()) / lengths
            weights[index] = raw / raw.sum() if raw.sum() > 0 else raw
        return weights

    def index(self, active: Sequence[int] | None) -> Tensor:
        """Positions (A,) of the active objectives in ascending order."""
        return torch.arange(len(self.objectives)) if active is None else torch.tensor(sorted(active), dtype=torch.long)

    @abstractmethod
    def solve(self, active: Tensor, gramian: Tensor | None, squared_norms: Tensor | None) -> Tensor:
        """Weights (A,) of the objectives `active` (A,) from their part of the Gramian (A, A) and their squared norms (A,)."""

    def after_step(self, losses: dict[str, float]) -> None:  # noqa: B027 - most weightings need no losses
        """Receive, after every step that was applied, the mean losses of the objectives that were active in it, by name."""

    def warning(self) -> str | None:
        """One line for the user if the weights behave badly."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint; empty for a weighting without state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`. Raises UserError if it is that of another weighting or of other objectives."""
        if state:
            raise self.state_error()

    def state_error(self) -> UserError:
        """The error to raise for the state of another weighting."""
        return UserError(
            f"weighting: the checkpoint holds the state of another weighting than {type(self).__name__}; "
            "resume with the config of the checkpoint, or start anew from its model with --init_from"
        )

    @staticmethod
    def _finite(values: Tensor) -> Tensor:
        if not values.isfinite().all():
            raise FloatingPointError("the inner products of the gradients are not finite")
        return values


def from_zero(**options: float) -> None:
    """Raises UserError if one of a weighting's options is not a finite number from 0 up."""
    for key, value in options.items():
        if not 0 <= value < float("inf"):
            raise UserError(f"weighting.{key}: {value} is not possible; give a number from 0 up")


def up_to_one(**options: float) -> None:
    """Raises UserError if one of a weighting's options is not a number from 0 to 1."""
    for key, value in options.items():
        if not 0 <= value <= 1:
            raise UserError(f"weighting.{key}: {value} is not possible; give a number from 0 to 1")
