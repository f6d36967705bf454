"""What measured steps prove about the cosine of two gradients: means with 95 % intervals, and what is left of them without noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

GROUPS = 10  # of consecutive steps, at most
ENOUGH = 4
QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # Student's t, 97.5 %, with 1 to GROUPS - 1 degrees of freedom


@dataclass(frozen=True)
class Estimate:
    """A number with the ends of its 95 % interval, from `count` observations; NaN where these are none, the ends alone with one."""

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
        """Whether there are too few observations to say that it is nothing but noise."""
        return self.count < ENOUGH


UNKNOWN = Estimate(math.nan, math.nan, math.nan, 0)


def mean(values: np.ndarray) -> Estimate:
    """The mean of one number per step (n,), in the order of steps; NaN where a step does not know it.

    Steps are not independent, since what they measure drifts while a run trains: up to 10 groups of consecutive steps count as one
    observation each (batch means; Schmeiser 1982), and the interval is Student's.
    """
    return _jackknife(values[~np.isnan(values)][:, None], lambda means: means[0])


def corrected(pair: np.ndarray, selves: Sequence[np.ndarray], doubled: Sequence[bool] = (False, False)) -> Estimate:
    """The cosine of two true gradients, from the cosines of noisy ones (n,) on independent batches; UNKNOWN where noise hides it.

    pair: of the two with each other; selves: of each with itself. Noise shrinks all of them: Spearman (1904), "The proof and
    measurement of association between two things", divides by the geometric mean of the selves, which must both be above 0. Of a gradient
    that is `doubled` the pair saw the whole batch but the self two halves, of which a whole has 2 r / (1 + r) (Spearman 1910, Brown 1910).
    The interval leaves out each group of consecutive steps in turn (jackknife), so it follows the noise of all three.
    """
    if not all(mean(values).positive for values in selves):
        return UNKNOWN

    def statistic(means: np.ndarray) -> float:
        first, second = (2 * r / (1 + r) if double else r for r, double in zip(means[1:], doubled, strict=True))
        return means[0] / math.sqrt(first * second) if first > 0 and second > 0 else math.nan

    return _jackknife(np.stack([pair, *selves], 1), statistic)


def _jackknife(values: np.ndarray, statistic: Callable[[np.ndarray], float]) -> Estimate:
    """A statistic of the means of several series (n, S), NaN where unknown; of one mean the interval is that of batch means."""
    values = values[~np.isnan(values).all(1)]
    if not len(values) or np.isnan(values).all(0).any():
        return UNKNOWN
    groups = np.array_split(values, min(GROUPS, len(values)))
    sums = np.array([np.nansum(group, 0) for group in groups])
    counts = np.array([(~np.isnan(group)).sum(0) for group in groups])
    value = statistic(sums.sum(0) / counts.sum(0))
    filled = int((counts > 0).sum(0).min())  # groups that know the series which is known in the fewest
    if filled < 2:
        return Estimate(value, math.nan, math.nan, filled)
    without = np.array([statistic(means) for means in (sums.sum(0) - sums) / (counts.sum(0) - counts)])  # all groups but one
    error = math.sqrt((len(groups) - 1) / len(groups) * float(((without - without.mean()) ** 2).sum()))
    margin = QUANTILES[filled - 2] * error
    return Estimate(value, value - margin, value + margin, filled)


class Cosines:
    """The cosines of a period's measured steps, in one layer or in `all`.

    Args:
        lines: those of train.jsonl that have a `conflict`.
        layer: its name.

    Attributes:
        names: of the gradients (M).
        one_batch: (n, M, M) of the same batch, which shares its noise where two objectives read the same stream.
        independent: (n, M, M) of independent batches, on the diagonal those of each gradient with itself.
    """

    def __init__(self, lines: Sequence[Mapping[str, Any]], layer: str = "all") -> None:
        conflicts = [line["conflict"] for line in lines]
        self.names = list(dict.fromkeys(name for one in conflicts for name in one["names"]))
        self.one_batch = self._stack(conflicts, [one["matrix"] if layer == "all" else one["layers"].get(layer) for one in conflicts])
        self._halved = [{*one.get("halved", ())} for one in conflicts]
        self.independent = self._stack(conflicts, [one.get("cross", {}).get(layer) for one in conflicts])

    def _stack(self, conflicts: Sequence[Mapping], matrices: Sequence[list | None]) -> np.ndarray:
        values = np.full((len(conflicts), len(self.names), len(self.names)), np.nan)
        for value, one, matrix in zip(values, conflicts, matrices, strict=True):
            if matrix is not None:
                index = [self.names.index(name) for name in one["names"]]
                value[np.ix_(index, index)] = np.array(matrix, dtype=float)  # null is NaN
        return values

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Pairs that stood in the same step, the first named first."""
        known = ~np.isnan(self.one_batch).all(0)
        return [(first, second) for second in range(len(self.names)) for first in range(second) if known[first, second]]

    def label(self, pair: tuple[int, int]) -> str:
        return " - ".join(self.names[place] for place in pair)

    def mean(self, pair: tuple[int, int]) -> Estimate:
        """Of two gradients, or of one with itself, on independent batches."""
        return mean(self.independent[:, pair[0], pair[1]])

    def corrected(self, pair: tuple[int, int]) -> Estimate:
        """Of the two true gradients."""
        both = {self.names[place] for place in pair}
        together = any(both <= halved for halved in self._halved)  # the pair itself is known from halves
        doubled = [not together and any(self.names[place] in halved for halved in self._halved) for place in pair]
        return corrected(self.independent[:, pair[0], pair[1]], [self.independent[:, place, place] for place in pair], doubled)

    def counts(self) -> tuple[int, int, int]:
        """Pairs in conflict, aligned, and those whose interval holds 0 or is not known."""
        found = [self.mean(pair) for pair in self.pairs]
        negative, positive = sum(one.negative for one in found), sum(one.positive for one in found)
        return negative, positive, len(found) - negative - positive


def knows_noise(lines: Sequence[Mapping[str, Any]]) -> bool:
    """Whether any of these lines compares independent batches; logs of older versions do not."""
    return any(line["conflict"].get("cross") for line in lines)
