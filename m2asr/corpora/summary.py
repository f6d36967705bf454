"""Summarizes a preparation: its sets, dropped utterances and missing parts, compared with the published counts of the corpus."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from m2asr.data.directory import Utterance
from m2asr.errors import UserError
from m2asr.text.scripts import mixed_tokens

UNTEXTED = "unlabelled"  # prefix of the names of sets without text; they may be empty
SHOWN = 5  # dropped utterances named before the rest are only counted
HOURS_TOLERANCE = 0.02  # share by which hours may differ from the published ones, which are rounded


class Published(NamedTuple):
    """The published counts of a set of a corpus; None for a count that is not published."""

    utterances: int | None = None
    hours: float | None = None
    speakers: int | None = None

    def __str__(self) -> str:
        figures = ((self.utterances, "utterances"), (self.hours, "h"), (self.speakers, "speakers"))
        return ", ".join(f"{figure:g} {unit}" if unit == "h" else f"{figure} {unit}" for figure, unit in figures if figure is not None)


class Summary:
    """Counts per set, dropped utterances with reasons, and missing parts; `str` makes a table that compares them with published counts.

    published: set -> its published counts; max_bad: the number of faulty utterances that may be dropped; origin: the data to fetch if
    something is missing.
    """

    def __init__(self, published: Mapping[str, Published] | None = None, max_bad: int = 0, origin: str = "") -> None:
        self.published, self.max_bad, self.origin = published or {}, max_bad, origin
        self.utterances: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self.words: Counter[str] = Counter()
        self.speakers: dict[str, set[str]] = defaultdict(set)
        self.dropped: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = defaultdict(list)  # reason -> the first utterances that were dropped for it
        self.notes: list[str] = []
        self._bad = 0
        self._required: list[str] = []

    def expect(self, names: Iterable[str], required: bool) -> None:
        """Name sets that should have utterances; if they are `required`, `check` raises an error for an empty one."""
        for name in names:
            self.utterances[name] += 0
            self._required += [name] if required and not name.startswith(UNTEXTED) else []

    def check(self) -> None:
        """Raise UserError if there is no utterance at all, or none in a required set; the message tells what was dropped."""
        remedy = f"fetch {self.origin or 'it'} again"
        if not self.utterances.total():
            why = "".join(f"; dropped {number}: {reason}" for reason, number in self.dropped.items())
            raise UserError("; ".join([f"the corpus has no utterance in the requested parts{why}", *self.notes, remedy]))
        if empty := [name for name in self._required if not self.utterances[name]]:
            raise UserError(f"{', '.join(empty)}: no utterance in it; {remedy}, or leave it out of --parts")

    def count(self, name: str, utterance: Utterance) -> None:
        """Count an utterance of a set; the words of languages without spaces are their characters."""
        self.utterances[name] += 1
        self.seconds[name] += utterance.seconds
        self.speakers[name].add(utterance.speaker)
        text = utterance.text or ""
        self.words[name] += len(mixed_tokens(text))

    def add(self, name: str, utterances: Iterable[Utterance]) -> None:
        """Count a finished set."""
        for utterance in utterances:
            self.count(name, utterance)

    def drop(self, reason: str, name: str) -> None:
        """Note an utterance that goes into no set."""
        self.dropped[reason] += 1
        if len(self.examples[reason]) < SHOWN:
            self.examples[reason].append(name)

    def bad(self, message: str) -> None:
        """Drop a faulty utterance. Raises UserError with the message if there are more than `max_bad`."""
        self._bad += 1
        if self._bad > self.max_bad:
            more = f" ({self._bad} such; --max_bad {self.max_bad} allows fewer)" if self.max_bad else "; or drop such with --max_bad"
            raise UserError(message + more)
        self.drop("unusable", message)

    def note(self, message: str) -> None:
        """Add a note about the corpus, such as a missing part."""
        self.notes.append(message)

    def __str__(self) -> str:
        lines = [f"{'set':<20} {'utterances':>10} {'hours':>8} {'speakers':>8} {'words':>10}{'  published' if self.published else ''}"]
        for name, utterances in self.utterances.items():
            row = f"{name:<20} {utterances:>10} {self.seconds[name] / 3600:>8.2f} {len(self.speakers[name]):>8} {self.words[name]:>10}"
            lines.append(f"{row}  {self.published.get(name, '')}".rstrip())
        for reason, number in self.dropped.items():
            more = " ..." if number > len(self.examples[reason]) else ""
            lines.append(f"dropped {number}: {reason}: {', '.join(self.examples[reason])}{more}")
        return "\n".join([*lines, *self.notes, *self._differences()])

    def _differences(self) -> list[str]:
        """Lines about sets whose counts differ from the published ones."""
        lines = []
        for name, utterances in self.utterances.items():
            published = self.published.get(name, Published())
            hours, speakers = self.seconds[name] / 3600, len(self.speakers[name])
            differences = []
            if published.utterances is not None and utterances != published.utterances:
                differences.append(f"{utterances} utterances, {published.utterances} are published")
            if published.hours is not None and abs(hours - published.hours) > max(HOURS_TOLERANCE * published.hours, 0.05):
                differences.append(f"{hours:.2f} hours, {published.hours:g} are published")
            if published.speakers is not None and speakers != published.speakers:
                differences.append(f"{speakers} speakers, {published.speakers} are published")
            if not utterances and not differences:
                differences.append("no utterance in it")
            if differences:
                lines.append(f"{name} differs: {'; '.join(differences)}")
        if lines:
            origin = self.origin or "it again"
            lines.append(f"the data is incomplete, or another version, or utterances were dropped; for the complete corpus fetch {origin}")
        return lines
