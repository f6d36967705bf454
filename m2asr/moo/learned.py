"""One learned number per objective."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from m2asr.errors import UserError
from m2asr.form import check_form
from m2asr.moo.weighting import from_zero


class LearnedScalars:
    """A number per objective, from 0, that Adam moves; an objective without a slope keeps its number and its moments.

    Args:
        objectives: names of the objectives.
        rate: learning rate.
        decay: weight decay, as an L2 penalty.
    """

    def __init__(self, objectives: list[str], rate: float, decay: float = 0.0) -> None:
        from_zero(rate=rate, decay=decay)
        self._values = {name: torch.zeros((), dtype=torch.float64, requires_grad=True) for name in objectives}
        self._adam = torch.optim.Adam(self._values.values(), lr=rate, weight_decay=decay)

    def __getitem__(self, names: list[str]) -> Tensor:
        """The numbers (A,) of some objectives."""
        return torch.stack([self._values[name].detach() for name in names])

    def descend(self, slopes: dict[str, float]) -> None:
        """One step of Adam against the given slopes."""
        for name, value in self._values.items():
            value.grad = torch.tensor(slopes[name], dtype=torch.float64) if name in slopes else None
        self._adam.step()

    def state_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        values = {name: value.item() for name, value in self._values.items()}
        return {"values": values, "adam": copy.deepcopy(self._adam.state_dict()["state"])}  # Adam goes on in its own tensors

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`. Raises UserError if it is that of other objectives."""
        same_objectives(state.get("values", {}), self._values)
        for moments in state["adam"].values():
            scalar = torch.zeros((), dtype=torch.float64)
            check_form(moments, {"step": torch.zeros(()), "exp_avg": scalar, "exp_avg_sq": scalar}, "adam")
        index = {name: number for number, name in enumerate(state["values"])}
        moments = {number: state["adam"][index[name]] for number, name in enumerate(self._values) if index[name] in state["adam"]}
        with torch.no_grad():
            for name, value in self._values.items():
                value.fill_(state["values"][name])
        self._adam.load_state_dict({**self._adam.state_dict(), "state": moments})


def same_objectives(saved: dict[str, Any], objectives: dict[str, Any] | list[str]) -> None:
    """Raises UserError if the weights of a checkpoint belong to other objectives."""
    if set(saved) != set(objectives):
        raise UserError(
            f"weighting: the checkpoint has weights for {', '.join(saved) or 'no objectives'}, the config has "
            f"{', '.join(objectives)}; resume with the objectives of the checkpoint, or start anew from its model with --init_from"
        )
