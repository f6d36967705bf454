"""The part of a conflict report that tells signal from noise: which pairs of objectives are in conflict, where and when."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from m2asr.report.conflict_stats import UNKNOWN, Cosines, Estimate
from m2asr.report.tables import PERIODS, table_head, table_row

CHANCE = 0.025  # of a pair without conflict to be called one, since intervals hold 95 %

READING = """
A pair is in conflict where the 95 % interval of its mean cosine lies wholly below 0, aligned where it lies wholly above; the others cannot
be told from 0. `cosine` compares independent batches, which share no noise: the noise of a batch shrinks it towards 0 but does not turn its
sign. `without noise` is the cosine of the two true gradients, after Spearman's correction by both selves; it says `noise` where one of the
selves, in the table below, is not above 0. `one batch` is the mean on the same batch, where two objectives of one stream share the noise.
`?`: measured too rarely.
""".strip()


def verdict(cosines: Cosines, periods: Sequence[Cosines]) -> list[str]:
    """The result in a line, over the whole run; below it that of every period, and what chance alone would give."""
    negative, positive, rest = cosines.counts()
    count = negative + positive + rest
    lines = [f"**Of {count} pairs {_are(negative)} in conflict, {_are(positive)} aligned, {rest} cannot be told from 0.**", ""]
    for title, period in zip(PERIODS, periods, strict=False):
        negative, positive, _ = period.counts()
        lines.append(f"* {title}: {_are(negative)} in conflict, {_are(positive)} aligned")
    return [*lines, "", f"By chance alone about {CHANCE * count:.1g} of {count} pairs are called in conflict, and as many aligned."]


def pairs(cosines: Cosines, periods: Sequence[Cosines]) -> Iterator[str]:
    """Pairs by the upper end of their interval, those in conflict first."""
    names = ["pair", "", "cosine", "without noise", "one batch", *PERIODS[: len(periods)]]
    yield from table_head(names)
    found = {pair: cosines.mean(pair) for pair in cosines.pairs}
    for pair in sorted(found, key=lambda pair: (not found[pair].negative, found[pair].positive, _or_inf(found[pair].value))):
        true, members = cosines.corrected(pair), [cosines.mean((place, place)) for place in pair]
        one_batch = cosines.one_batch[:, pair[0], pair[1]]
        label = cosines.label(pair)
        cells = [
            _word(found[pair]),
            interval(found[pair]),
            interval(true) if true.known else _hidden(members),
        ]
        cells.append(f"{np.nanmean(one_batch):+.3f}")
        yield table_row([label, *cells, *(_marked(_in(period, pair, cosines.names)) for period in periods)])


def selves(cosines: Cosines, periods: Sequence[Cosines]) -> Iterator[str]:
    """How well each gradient repeats on another batch, and the ratio of squared lengths of signal and noise that follows from it.

    Both are those of half the speech of a step: a half of its batch, or one of MoDo's two.
    """
    yield from table_head(["objective", "signal to noise", "whole run", *PERIODS[: len(periods)]])
    for place, name in enumerate(cosines.names):
        whole = cosines.mean((place, place))
        ratio = f"{whole.value / (1 - whole.value):.2g}" if whole.positive and whole.value < 1 else _hidden([whole])
        yield table_row([name, ratio, interval(whole), *(interval(_in(period, (place, place), cosines.names)) for period in periods)])


def layers(names: Sequence[str], whole: Sequence[dict], periods: Sequence[Sequence[dict]]) -> Iterator[str]:
    """Of every layer the share of pairs in conflict, and the pair of the lowest mean cosine over the run."""
    yield from table_head(["layers", "lowest cosine of the run", "whole run", *PERIODS[: len(periods)]])
    for layer in names:
        cosines = Cosines(whole, layer)
        lowest = min(cosines.pairs, key=lambda pair: _or_inf(cosines.mean(pair).value), default=None)
        cell = f"{cosines.label(lowest)} {interval(cosines.mean(lowest))}" if lowest else ""
        yield table_row([layer, cell, *(_shares(Cosines(lines, layer)) for lines in (whole, *periods))])


def interval(estimate: Estimate) -> str:
    """A cosine with half the width of its interval."""
    if math.isnan(estimate.value):
        return "?"
    return f"{estimate.value:+.3f} ± {estimate.high - estimate.value:.3f}" if estimate.known else f"{estimate.value:+.3f} ± ?"


def _hidden(selves: Sequence[Estimate]) -> str:
    """Why there is no value: one of these gradients is noise, or it was measured too rarely to say so."""
    return "?" if any(one.rare and not one.positive for one in selves) else "noise"


def _shares(cosines: Cosines) -> str:
    negative, positive, rest = cosines.counts()
    count = negative + positive + rest
    return f"{negative / count:.0%} in conflict, {positive / count:.0%} aligned" if count else ""


def _in(period: Cosines, pair: tuple[int, int], names: Sequence[str]) -> Estimate:
    """Of a pair in a period, whose lines may know fewer `names`."""
    index = [period.names.index(names[place]) for place in pair if names[place] in period.names]
    return period.mean((index[0], index[1])) if len(index) == 2 else UNKNOWN


def _marked(estimate: Estimate) -> str:
    mark = " conflict" if estimate.negative else " aligned" if estimate.positive else ""
    return interval(estimate) + mark


def _word(estimate: Estimate) -> str:
    return "in conflict" if estimate.negative else "aligned" if estimate.positive else "not told from 0" if estimate.known else "?"


def _are(count: int) -> str:
    return f"{count} {'is' if count == 1 else 'are'}"


def _or_inf(value: float) -> float:
    return math.inf if math.isnan(value) else value
