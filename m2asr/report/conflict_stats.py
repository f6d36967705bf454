"""Statistics of gradient cosines over the measured steps: means with 95 % intervals, and cosines corrected for the noise of batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

GROUPS = 10  # the most groups of consecutive steps that a period is split into
ENOUGH = 4  # observations from which on a mean that is not above 0 counts as noise
QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # Student's t, 97.5 %, with 1 to GROUPS - 1 degrees of freedom


@dataclass(frozen=True)
class Estimate:
    """A number with the ends of its 95 % interval, from `count` observations.

    Without observations all three are NaN; with a single observation the ends are NaN.
    """

    value: float
    low: float
    high: float
    count: int

    @property
    def negative(self) -> bool:
        """The interval lies wholly below 0: two objectives in conflict."""
        return self.high < 0

    @property
    def positive(self) -> bool:
        """The interval lies wholly above 0: two objectives that are aligned, or a gradient above its noise."""
        return self.low > 0

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return self.low <= self.high

    @property
    def rare(self) -> bool:
        """Whether the observations are too few to call the value nothing but noise."""
        return self.count < ENOUGH


UNKNOWN = Estimate(math.nan, math.nan, math.nan, 0)


def mean(values: np.ndarray) -> Estimate:
    """The mean of one number per step (n,), in the order of steps; NaN marks a step without the number.

    Steps are not independent, since the measured quantity drifts while a run trains. So up to 10 groups of consecutive steps count as one
    observation each (batch means; Schmeiser 1982), and the interval is Student's.
    """
    return _jackknife(values[~np.isnan(values)][:, None], lambda means: means[0])


def corrected(pair: np.ndarray, selves: Sequence[np.ndarray], doubled: Sequence[bool] = (False, False)) -> Estimate:
    """The cosine of two true gradients, from the cosines of noisy gradients (n,) on independent batches; UNKNOWN where noise hides it.

    `pair` holds the cosines of the two gradients with each other, `selves` those of each gradient with itself on another batch. Noise
    shrinks all of them. Spearman (1904), "The proof and measurement of association between two things", divides by the geometric mean of
    the selves, which must both be above 0. Where a gradient is `doubled`, the pair comes from the full batch, but the self from its two
    halves; a self r of halves is 2 r / (1 + r) for the full batch (Spearman 1910, Brown 1910). The interval leaves out each group of
    consecutive steps in turn (jackknife), so it covers the noise of all three cosines.
    """
    if not all(mean(values).positive for values in selves):
        return UNKNOWN

    def statistic(means: np.ndarray) -> float:
        first, second = (2 * r / (1 + r) if double else r for r, double in zip(means[1:], doubled, strict=True))
        return means[0] / math.sqrt(first * second) if first > 0 and second > 0 else math.nan

    return _jackknife(np.stack([pair, *selves], 1), statistic)


def _jackknife(values: np.ndarray, statistic: Callable[[np.ndarray], float]) -> Estimate:
    """A statistic of the means of S series (n, S), where NaN marks unknown values. With one series the interval is that of batch means."""
    values = values[~np.isnan(values).all(1)]
    if not len(values) or np.isnan(values).all(0).any():
        return UNKNOWN
    groups = np.array_split(values, min(GROUPS, len(values)))
    sums = np.array([np.nansum(group, 0) for group in groups])
    counts = np.array([(~np.isnan(group)).sum(0) for group in groups])
    value = statistic(sums.sum(0) / counts.sum(0))
    filled = int((counts > 0).sum(0).min())  # groups with a value, of the series for which these are fewest
    if filled < 2:
        return Estimate(value, math.nan, math.nan, filled)
    left_out = np.array([statistic(means) for means in (sums.sum(0) - sums) / (counts.sum(0) - counts)])  # each without one group
    error = math.sqrt((len(groups) - 1) / len(groups) * float(((left_out - left_out.mean()) ** 2).sum()))
    margin = QUANTILES[filled - 2] * error
    return Estimate(value, value - margin, value + margin, filled)


class Cosines:
    """The cosines of gradients in the measured steps of a period, in one layer or in `all` layers together.

    Args:
        lines: the lines of train.jsonl that have a `conflict`.
        layer: the name of the layer, or `all`.

    Attributes:
        names: the objectives (M) whose gradients were measured.
        one_batch: cosines (n, M, M) on the same batch. Two objectives of one stream share the noise of that batch.
        independent: cosines (n, M, M) on independent batches; the diagonal holds those of each gradient with itself.
    """

    def __init__(self, lines: Sequence[Mapping[str, Any]], layer: str = "all") -> None:
        conflicts = [line["conflict"] for line in lines]
        self.names = list(dict.fromkeys(name for conflict in conflicts for name in conflict["names"]))
        matrices = [conflict["matrix"] if layer == "all" else conflict["layers"].get(layer) for conflict in conflicts]
        self.one_batch = self._stack(conflicts, matrices)
        self._halved = [{*conflict.get("halved", ())} for conflict in conflicts]
        self.independent = self._stack(conflicts, [conflict.get("cross", {}).get(layer) for conflict in conflicts])

    def _stack(self, conflicts: Sequence[Mapping], matrices: Sequence[list | None]) -> np.ndarray:
        values = np.full((len(conflicts), len(self.names), len(self.names)), np.nan)
        for value, conflict, matrix in zip(values, conflicts, matrices, strict=True):
            if matrix is not None:
                index = [self.names.index(name) for name in conflict["names"]]
                value[np.ix_(index, index)] = np.array(matrix, dtype=float)  # null becomes NaN
        return values

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Pairs of indexes into `names`, the smaller first, whose gradients were measured in the same step."""
        measured = ~np.isnan(self.one_batch).all(0)
        return [(first, second) for second in range(len(self.names)) for first in range(second) if measured[first, second]]

    def label(self, pair: tuple[int, int]) -> str:
        return " - ".join(self.names[index] for index in pair)

    def mean(self, pair: tuple[int, int]) -> Estimate:
        """The mean cosine of two gradients, or of a gradient with itself, on independent batches."""
        return mean(self.independent[:, pair[0], pair[1]])

    def corrected(self, pair: tuple[int, int]) -> Estimate:
        """The cosine of the two true gradients."""
        names = {self.names[index] for index in pair}
        pair_halved = any(names <= halved for halved in self._halved)  # the cosine of the pair comes from halves too
        doubled = [not pair_halved and any(self.names[index] in halved for halved in self._halved) for index in pair]
        return corrected(self.independent[:, pair[0], pair[1]], [self.independent[:, index, index] for index in pair], doubled)

    def counts(self) -> tuple[int, int, int]:
        """The numbers of pairs in conflict, of aligned pairs, and of those whose interval contains 0 or is not known."""
        estimates = [self.mean(pair) for pair in self.pairs]
        negative, positive = sum(estimate.negative for estimate in estimates), sum(estimate.positive for estimate in estimates)
        return negative, positive, len(estimates) - negative - positive


def noise_was_measured(lines: Sequence[Mapping[str, Any]]) -> bool:
    """Whether any of these lines compares independent batches; logs of older versions do not."""
    return any(line["conflict"].get("cross") for line in lines)
