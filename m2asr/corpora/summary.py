"""What a preparation has made, dropped and missed, beside what the corpus publishes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from m2asr.data.directory import Utterance
from m2asr.errors import UserError
from m2asr.text.normalize import UNSPACED

UNTEXTED = "unlabelled"  # how the names of sets without text begin; nothing may be left for them
SHOWN = 5  # dropped utterances named before the rest are only counted
HOURS_TOLERANCE = 0.02  # share by which hours may differ from the published, rounded ones


class Published(NamedTuple):
    """What a corpus says about one of its sets; None where it says nothing."""

    utterances: int | None = None
    hours: float | None = None
    speakers: int | None = None

    def __str__(self) -> str:
        figures = ((self.utterances, "utterances"), (self.hours, "h"), (self.speakers, "speakers"))
        return ", ".join(f"{figure:g} {unit}" if unit == "h" else f"{figure} {unit}" for figure, unit in figures if figure is not None)


class Summary:
    """Counts per set, what was dropped and why, parts that are not there; `str` gives a table, compared with the published counts.

    published: set -> its published counts; max_bad: utterances that may be dropped because something is wrong with them; origin: what to
    fetch where something is missing.
    """

    def __init__(self, published: Mapping[str, Published] | None = None, max_bad: int = 0, origin: str = "") -> None:
        self.published, self.max_bad, self.origin = published or {}, max_bad, origin
        self.utterances: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self.words: Counter[str] = Counter()
        self.speakers: dict[str, set[str]] = defaultdict(set)
        self.dropped: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = defaultdict(list)  # reason -> the first that were dropped for it
        self.notes: list[str] = []
        self._bad = 0
        self._asked: list[str] = []

    def expect(self, names: Iterable[str], asked: bool) -> None:
        """Name sets that ought to have utterances; where they are `asked` for, `check` refuses those that have none."""
        for name in names:
            self.utterances[name] += 0
            self._asked += [name] if asked and not name.startswith(UNTEXTED) else []

    def check(self) -> None:
        """Raise UserError where there is no utterance at all, or none in a set that was asked for; what was dropped is told."""
        remedy = f"fetch {self.origin or 'it'} again"
        if not self.utterances.total():
            why = "".join(f"; dropped {number}: {reason}" for reason, number in self.dropped.items())
            raise UserError("; ".join([f"the corpus has no utterance in the parts that were asked for{why}", *self.notes, remedy]))
        if empty := [name for name in self._asked if not self.utterances[name]]:
            raise UserError(f"{', '.join(empty)}: no utterance in it; {remedy}, or leave it out of --parts")

    def count(self, name: str, one: Utterance) -> None:
        """Count an utterance of a set; the words of languages without spaces are their characters."""
        self.utterances[name] += 1
        self.seconds[name] += one.seconds
        self.speakers[name].add(one.speaker)
        text = one.text or ""
        self.words[name] += len(text.replace(" ", "")) if one.lang in UNSPACED else len(text.split())

    def add(self, name: str, utterances: Iterable[Utterance]) -> None:
        """Count a finished set."""
        for one in utterances:
            self.count(name, one)

    def drop(self, reason: str, name: str) -> None:
        """Note an utterance that is in no set."""
        self.dropped[reason] += 1
        if len(self.examples[reason]) < SHOWN:
            self.examples[reason].append(name)

    def bad(self, message: str) -> None:
        """Drop an utterance with which something is wrong. Raises UserError with the message if there are more than `max_bad`."""
        self._bad += 1
        if self._bad > self.max_bad:
            more = f" ({self._bad} such; --max_bad {self.max_bad} allows fewer)" if self.max_bad else "; or drop such with --max_bad"
            raise UserError(message + more)
        self.drop("unusable", message)

    def note(self, message: str) -> None:
        """Say something about the corpus, such as a part that is not there."""
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
        """Where a set is not what the corpus publishes."""
        lines = []
        for name, utterances in self.utterances.items():
            told = self.published.get(name, Published())
            hours, speakers = self.seconds[name] / 3600, len(self.speakers[name])
            found = []
            if told.utterances is not None and utterances != told.utterances:
                found.append(f"{utterances} utterances, {told.utterances} are published")
            if told.hours is not None and abs(hours - told.hours) > max(HOURS_TOLERANCE * told.hours, 0.05):
                found.append(f"{hours:.2f} hours, {told.hours:g} are published")
            if told.speakers is not None and speakers != told.speakers:
                found.append(f"{speakers} speakers, {told.speakers} are published")
            if not utterances and not found:
                found.append("no utterance in it")
            if found:
                lines.append(f"{name} differs: {'; '.join(found)}")
        if lines:
            origin = self.origin or "it again"
            lines.append(f"it is partly downloaded, or another version, or utterances were dropped; to have it whole, fetch {origin}")
        return lines
