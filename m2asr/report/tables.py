"""Markdown tables of a report."""

from __future__ import annotations

from collections.abc import Sequence

PERIODS = ("first third", "middle", "last third")  # of a run


def table_head(titles: Sequence[str]) -> list[str]:
    """Two lines; the first column stands left, the others right."""
    return [table_row(titles), "|---|" + "---:|" * (len(titles) - 1)]


def table_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
