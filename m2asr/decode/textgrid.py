"""Praat's TextGrid, in its long text format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from m2asr.decode.marks import Mark


def textgrid(seconds: float, tiers: Mapping[str, Iterable[Mark]]) -> str:
    """A TextGrid of interval tiers; intervals without text fill the time between marks, so that a tier covers the recording."""
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {seconds:.6f}", "tiers? <exists>"]
    lines += [f"size = {len(tiers)}", "item []:"]
    for number, (name, marks) in enumerate(tiers.items(), 1):
        intervals = _intervals(seconds, marks)
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f"        name = {_quoted(name)}", "        xmin = 0"]
        lines += [f"        xmax = {seconds:.6f}", f"        intervals: size = {len(intervals)}"]
        for index, (start, end, text) in enumerate(intervals, 1):
            lines += [f"        intervals [{index}]:", f"            xmin = {start}", f"            xmax = {end}"]
            lines += [f"            text = {_quoted(text)}"]
    return "\n".join(lines) + "\n"


def _intervals(seconds: float, marks: Iterable[Mark]) -> list[tuple[str, str, str]]:
    """Start, end and text of adjacent intervals; marks shorter than a microsecond are left out."""
    intervals, last = [], f"{0:.6f}"
    for mark in marks:
        start, end = f"{max(mark.start, float(last)):.6f}", f"{min(mark.end, seconds):.6f}"
        if float(start) < float(end):
            if float(last) < float(start):
                intervals.append((last, start, ""))
            intervals.append((start, end, mark.text))
            last = end
    if float(last) < float(f"{seconds:.6f}") or not intervals:
        intervals.append((last, f"{seconds:.6f}", ""))
    return intervals


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
