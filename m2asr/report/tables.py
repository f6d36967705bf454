"""Markdown tables of a report."""

from __future__ import annotations

from collections.abc import Sequence

PERIODS = ("first third", "middle", "last third")  # of a run


def table_head(titles: Sequence[str]) -> list[str]:
    """The two lines of a table's head; the first column is aligned to the left, the others to the right."""
    return [table_row(titles), "|---|" + "---:|" * (len(titles) - 1)]


def table_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
