"""Subtitles: group words into readable cues and write them as SubRip (srt) and WebVTT (vtt)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from m2asr.decode.marks import Mark, join_words

WIDTH = 42  # columns of a line; Chinese and Japanese characters fill two
LINES = 2
LONGEST, SHORTEST = 7.0, 1.0  # seconds that a cue is shown; a shorter cue stays longer if there is time before the next
PAUSE = 1.0  # seconds without a word that end a cue


class Cue(NamedTuple):
    """A text that is shown from `start` to `end` seconds, in at most two lines."""

    start: float
    end: float
    lines: list[str]


def cues(words: Iterable[Mark], prefix: str = "") -> list[Cue]:
    """The cues of words in the order of time; every cue begins with `prefix`, for instance the name of the speaker."""
    groups: list[list[Mark]] = []
    for word in words:
        if groups and _fits(groups[-1], word, prefix):
            groups[-1].append(word)
        else:
            groups.append([word])
    results = []
    for index, group in enumerate(groups):
        start, end = group[0].start, group[-1].end
        following = groups[index + 1][0].start if index + 1 < len(groups) else float("inf")
        end = max(end, min(start + SHORTEST, following))
        results.append(Cue(start, end, _lines(prefix + join_words([word.text for word in group]))))
    return results


def srt(rows: Sequence[Cue]) -> str:
    """The cues in SubRip format."""
    return "".join(f"{n}\n{_time(cue.start, ',')} --> {_time(cue.end, ',')}\n{_text(cue)}\n\n" for n, cue in enumerate(rows, 1))


def vtt(rows: Sequence[Cue]) -> str:
    """The cues in WebVTT format, in which & < > are written as entities."""
    blocks = []
    for cue in rows:
        text = _text(cue).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        blocks.append(f"{_time(cue.start, '.')} --> {_time(cue.end, '.')}\n{text}\n")
    return "\n".join(["WEBVTT\n", *blocks])


def _fits(group: Sequence[Mark], word: Mark, prefix: str) -> bool:
    if word.start - group[-1].end >= PAUSE or word.end - group[0].start > LONGEST:
        return False
    lines = _lines(prefix + join_words([member.text for member in [*group, word]]))
    return len(lines) <= LINES and all(_width(line) <= WIDTH for line in lines)


def _lines(text: str) -> list[str]:
    """A text as one line if it fits, else as two lines of similar width; a longer text takes more lines."""
    if _width(text) <= WIDTH:
        return [text]
    breaks = [position for position in range(1, len(text)) if text[position] == " " or _wide(text[position]) or _wide(text[position - 1])]
    halves = [[text[:position].rstrip(), text[position:].lstrip()] for position in breaks]
    fitting = [half for half in halves if max(map(_width, half)) <= WIDTH]
    if fitting:
        return min(fitting, key=lambda half: abs(_width(half[0]) - _width(half[1])))
    first = [half for half in halves if _width(half[0]) <= WIDTH]
    return [first[-1][0], *_lines(first[-1][1])] if first else [text]  # a single word can be longer than a line


def _width(text: str) -> int:
    return sum(2 if _wide(letter) else 0 if unicodedata.combining(letter) else 1 for letter in text)


def _wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in "WF"


def _text(cue: Cue) -> str:
    return "\n".join(cue.lines)


def _time(seconds: float, point: str) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}{point}{ms % 1000:03d}"
