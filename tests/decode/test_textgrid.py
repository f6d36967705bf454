"""TextGrids that Praat reads: intervals touch each other and cover the recording."""

from __future__ import annotations

import re

from m2asr.decode.ctm import ctm_lines
from m2asr.decode.marks import Mark
from m2asr.decode.textgrid import textgrid

WORDS = [Mark("who", 0.1, 0.3, 0.9), Mark('"is"', 0.3, 0.5, 0.8), Mark("là", 0.7, 1.25, 0.7)]


def parse(text: str) -> dict[str, list[tuple[float, float, str]]]:
    """The intervals of every tier; checks the numbers that Praat counts on."""
    head, *items = re.split(r"\n    item \[\d+\]:\n", text)
    assert head.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\n') and "\ntiers? <exists>\n" in head
    assert int(re.search(r"\nsize = (\d+)\n", head)[1]) == len(items)
    tiers = {}
    for item in items:
        rows = re.findall(r'intervals \[(\d+)\]:\n +xmin = (\S+)\n +xmax = (\S+)\n +text = "((?:[^"]|"")*)"(?:\n|$)', item)
        assert 'class = "IntervalTier"' in item and int(re.search(r"intervals: size = (\d+)", item)[1]) == len(rows)
        assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))
        name, end = re.search(r'name = "(.*)"', item)[1], float(re.search(r"xmax = (\S+)", item)[1])
        tiers[name] = [(float(start), float(stop), text) for _, start, stop, text in rows]
        assert tiers[name][0][0] == 0 and tiers[name][-1][1] == end
        assert all(before[1] == after[0] for before, after in zip(tiers[name], tiers[name][1:], strict=False))
        assert all(start < stop for start, stop, _ in tiers[name])
    return tiers


def test_tiers_cover_the_recording():
    tiers = parse(textgrid(1.3, {"words": WORDS, "tokens": []}))
    assert tiers["words"] == [
        (0.0, 0.1, ""),
        (0.1, 0.3, "who"),
        (0.3, 0.5, '""is""'),
        (0.5, 0.7, ""),
        (0.7, 1.25, "là"),
        (1.25, 1.3, ""),
    ]
    assert tiers["tokens"] == [(0.0, 1.3, "")]


def test_marks_at_the_edges_and_without_length():
    tiers = parse(textgrid(1.25, {"words": [Mark("a", 0.0, 0.1, 1.0), Mark("b", 0.1, 0.1, 1.0), *WORDS[2:]]}))
    assert tiers["words"] == [(0.0, 0.1, "a"), (0.1, 0.7, ""), (0.7, 1.25, "là")]
    assert parse(textgrid(0.5, {"words": [Mark("a", 0.2, 0.9, 1.0)]}))["words"][-1] == (0.2, 0.5, "a")


def test_ctm_lines():
    assert ctm_lines("utt", WORDS[:2], channel=2) == 'utt 2 0.100 0.200 who 0.900\nutt 2 0.300 0.200 "is" 0.800\n'
