"""Count which tokens a recognition confuses."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from m2asr.score.error_rate import Errors


class Confusions(NamedTuple):
    """Counts of substituted pairs (reference, hypothesis), of deleted reference tokens and of inserted tokens."""

    substituted: Counter[tuple[str, str]]
    deleted: Counter[str]
    inserted: Counter[str]


def confusions(errors: Errors) -> Confusions:
    """Count the errors of all utterances by their tokens."""
    wrong = Counter(pair for row in range(len(errors.counts)) for pair in errors.aligned(row) if pair[0] != pair[1])
    return Confusions(
        Counter({pair: count for pair, count in wrong.items() if all(pair)}),
        Counter({reference: count for (reference, hypothesis), count in wrong.items() if not hypothesis}),
        Counter({hypothesis: count for (reference, hypothesis), count in wrong.items() if not reference}),
    )
