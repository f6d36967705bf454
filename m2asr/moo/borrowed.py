"""Weightings that TorchJD implements, as weightings of this toolkit."""

from __future__ import annotations

from abc import abstractmethod
from importlib.metadata import version
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from m2asr.moo.weighting import Weighting

TESTED = "0.18"  # of torchjd, as in setup.py: some weightings set its private attributes, which another version may not read


class Unavailable(Exception):
    """A package that a weighting needs is not installed; the text names the package."""


class Borrowed(Weighting):
    """A weighting of torchjd (Quinton and Rey 2024, "Jacobian descent for multi-objective optimization").

    torchjd sees the Gramian divided by the mean of squared lengths, so its thresholds do not depend on the scale of the losses.
    Methods whose weights for M equal gradients do not sum to 1 have theirs multiplied by `unit`. Random choices follow the number
    of weighted steps alone, so a resumed run makes the same ones. Where a solver fails, that step's weights are equal,
    and the failures are counted.

    Raises:
        Unavailable: torchjd or a solver that the method needs is not installed, or torchjd in another version than was tested.
    """

    random = False

    def __init__(self, objectives: list[str]) -> None:
        super().__init__(objectives)
        self._steps = 0
        self._failed = 0
        try:
            installed = version("torchjd")
            if installed.split(".")[:2] != TESTED.split("."):
                raise Unavailable(f"torchjd {TESTED}, with which it was tested, but {installed} is installed")
            from torchjd import aggregation

            self._method = self.make(aggregation)
            with torch.random.fork_rng(devices=[]):  # torchjd leaves names out where a solver cannot be imported
                self._method(torch.eye(max(2, len(objectives)), dtype=torch.float64))
        except (ImportError, NameError):
            raise Unavailable("torchjd and its solvers") from None

    @abstractmethod
    def make(self, aggregation: ModuleType) -> torch.nn.Module:
        """torchjd's weighting, from its module."""

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """The exceptions that its solver raises where it finds no solution."""
        return ValueError, ArithmeticError, torch.linalg.LinAlgError

    def unit(self, size: int) -> float:
        """The factor of the weights of `size` objectives."""
        return 1.0

    def ask(self, gramian: Tensor, active: Tensor) -> Tensor:
        """torchjd's weights (A,) for a Gramian (A, A)."""
        return self._method(gramian)

    def solve(self, active: Tensor, gramian: Tensor, squared_norms: Tensor) -> Tensor:
        size = len(active)
        equal = torch.full((size,), 1 / size, dtype=torch.float64)
        length = squared_norms.mean()
        if size == 1 or not length > 0:
            return equal
        self._steps += 1
        gramian = gramian / length
        if self.draws == 1:
            gramian = (gramian + gramian.T) / 2
        with torch.random.fork_rng(devices=[], enabled=self.random):
            if self.random:
                torch.default_generator.manual_seed(self._steps)  # that of the CPU alone is restored
            try:
                weights = self.ask(gramian, active).detach().double() * self.unit(size)
            except self.failures:  # a long run must not end with one
                weights = torch.full_like(equal, torch.nan)
        if weights.isfinite().all():
            return weights
        self._failed += 1
        return equal

    def warning(self) -> str | None:
        if not self._failed:
            return None
        return f"weighting: no solution in {self._failed} of {self._steps} steps; these had equal weights"

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self._steps, "failed": self._failed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if "failed" not in state:
            raise self.state_error()
        self._steps, self._failed = state["steps"], state["failed"]
