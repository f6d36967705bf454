"""Tables of the conflict report that separate signal from noise: which pairs of objectives are in conflict, where and when."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from m2asr.report.conflict_stats import UNKNOWN, Cosines, Estimate
from m2asr.report.tables import PERIODS, table_head, table_row

CHANCE = 0.025  # of a pair without conflict to be called a conflict, since intervals hold 95 %

READING = """
A pair is in conflict where the 95 % interval of its mean cosine lies wholly below 0, and aligned where it lies wholly above 0. The other
pairs cannot be told from 0. `cosine` compares independent batches, which share no noise: the noise of a batch shrinks the cosine towards 0
but does not turn its sign. `without noise` is the cosine of the two true gradients, after Spearman's correction by both selves. It says
`noise` where one of the selves, in the table below, is not above 0. `one batch` is the mean on the same batch, where two objectives of one
stream share the noise. `?`: measured too rarely.
""".strip()


def verdict(cosines: Cosines, periods: Sequence[Cosines]) -> list[str]:
    """The numbers of pairs in conflict and aligned: over the whole run, in every period, and by chance alone."""
    negative, positive, rest = cosines.counts()
    count = negative + positive + rest
    lines = [f"**Of {count} pairs {_are(negative)} in conflict, {_are(positive)} aligned, {rest} cannot be told from 0.**", ""]
    for title, period in zip(PERIODS, periods, strict=False):
        negative, positive, _ = period.counts()
        lines.append(f"* {title}: {_are(negative)} in conflict, {_are(positive)} aligned")
    return [*lines, "", f"By chance alone about {CHANCE * count:.1g} of {count} pairs are called in conflict, and as many aligned."]


def pairs(cosines: Cosines, periods: Sequence[Cosines]) -> Iterator[str]:
    """A table of all pairs: first those in conflict, last those that are aligned, each group from the lowest cosine up."""
    yield from table_head(["pair", "", "cosine", "without noise", "one batch", *PERIODS[: len(periods)]])
    means = {pair: cosines.mean(pair) for pair in cosines.pairs}
    for pair in sorted(means, key=lambda pair: (not means[pair].negative, means[pair].positive, _or_inf(means[pair].value))):
        true, selves = cosines.corrected(pair), [cosines.mean((index, index)) for index in pair]
        one_batch = cosines.one_batch[:, pair[0], pair[1]]
        cells = [
            cosines.label(pair),
            _word(means[pair]),
            interval(means[pair]),
            interval(true) if true.known else _no_value(selves),
            f"{np.nanmean(one_batch):+.3f}",
        ]
        yield table_row([*cells, *(_marked(_mean_in(period, pair, cosines.names)) for period in periods)])


def selves(cosines: Cosines, periods: Sequence[Cosines]) -> Iterator[str]:
    """A table of the cosine of each gradient with itself on another batch, and of the ratio of squared lengths of signal and noise.

    The ratio follows from the cosine. Both hold for half the speech of a step: for half of its batch, or for one of MoDo's two batches.
    """
    yield from table_head(["objective", "signal to noise", "whole run", *PERIODS[: len(periods)]])
    for index, name in enumerate(cosines.names):
        pair = (index, index)
        mean = cosines.mean(pair)
        ratio = f"{mean.value / (1 - mean.value):.2g}" if mean.positive and mean.value < 1 else _no_value([mean])
        yield table_row([name, ratio, interval(mean), *(interval(_mean_in(period, pair, cosines.names)) for period in periods)])


def layers(names: Sequence[str], lines: Sequence[dict], periods: Sequence[Sequence[dict]]) -> Iterator[str]:
    """A table of the share of pairs in conflict in every layer, and of the pair with the lowest mean cosine over the run."""
    yield from table_head(["layers", "lowest cosine of the run", "whole run", *PERIODS[: len(periods)]])
    for layer in names:
        cosines = Cosines(lines, layer)
        lowest = min(cosines.pairs, key=lambda pair: _or_inf(cosines.mean(pair).value), default=None)
        cell = f"{cosines.label(lowest)} {interval(cosines.mean(lowest))}" if lowest else ""
        yield table_row([layer, cell, *(_shares(Cosines(period, layer)) for period in (lines, *periods))])


def interval(estimate: Estimate) -> str:
    """A cosine with half the width of its interval."""
    if math.isnan(estimate.value):
        return "?"
    return f"{estimate.value:+.3f} ± {estimate.high - estimate.value:.3f}" if estimate.known else f"{estimate.value:+.3f} ± ?"


def _no_value(selves: Sequence[Estimate]) -> str:
    """The word for a value that is not known: one of these gradients is `noise`, or was measured too rarely to say so (`?`)."""
    return "?" if any(estimate.rare and not estimate.positive for estimate in selves) else "noise"


def _shares(cosines: Cosines) -> str:
    negative, positive, rest = cosines.counts()
    count = negative + positive + rest
    return f"{negative / count:.0%} in conflict, {positive / count:.0%} aligned" if count else ""


def _mean_in(period: Cosines, pair: tuple[int, int], names: Sequence[str]) -> Estimate:
    """The mean of a pair of `names` in a period; UNKNOWN where the period did not measure both."""
    indexes = [period.names.index(names[index]) for index in pair if names[index] in period.names]
    return period.mean((indexes[0], indexes[1])) if len(indexes) == 2 else UNKNOWN


def _marked(estimate: Estimate) -> str:
    mark = " conflict" if estimate.negative else " aligned" if estimate.positive else ""
    return interval(estimate) + mark


def _word(estimate: Estimate) -> str:
    return "in conflict" if estimate.negative else "aligned" if estimate.positive else "not told from 0" if estimate.known else "?"


def _are(count: int) -> str:
    return f"{count} {'is' if count == 1 else 'are'}"


def _or_inf(value: float) -> float:
    return math.inf if math.isnan(value) else value
