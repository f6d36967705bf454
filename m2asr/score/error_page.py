"""report.html: every scored utterance with a player and its errors, in a single file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from m2asr.data.recordings import Item, read_items
from m2asr.files import open_atomic
from m2asr.score.decoded import Decoded, read_decoded
from m2asr.score.page_audio import audio_sources
from m2asr.score.page_cards import card
from m2asr.score.page_code import FOOT, NAVIGATION, head
from m2asr.score.page_tables import confused, controls, totals
from m2asr.score.report import conditions


class PageUtterance(NamedTuple):
    """An utterance of a set: its recording, if known, and the decoded folders that have it, with its row in each."""

    set: str
    utt: str
    item: Item | None
    answers: list[tuple[Decoded, int]]

    @property
    def sort_key(self) -> tuple[int, float]:
        """The errors of all recognitions, then the negative chrF of the worst translation: larger keys are worse."""
        wrong = sum(int(decoded.errors.counts[row, :3].sum()) for decoded, row in self.answers if decoded.errors)
        return wrong, -min((decoded.chrf[row] for decoded, row in self.answers if decoded.chrf), default=100.0)


def write_page(page: Path, results: Mapping[str, Any], folders: Sequence[Path], data: Path, most: int) -> str:
    """Write the error page of scored folders; `results` is the content of results.json; returns a line about the page.

    If there are more than `most` utterances, it shows those with the most errors of each set. Relative paths of recordings start at the
    current folder.
    """
    decoded = [answer for answer in (read_decoded(out, data) for out in folders) if answer.utts]
    utterances = _utterances(decoded, data)
    shown = _worst(utterances, most)
    audible = sorted((utterance for utterance in shown if utterance.item), key=lambda utterance: utterance.sort_key, reverse=True)
    addresses, missing = audio_sources([utterance.item for utterance in audible], page)
    missing.update({"not in wav.scp": len(shown) - len(audible)})
    sources = {(utterance.set, utterance.utt): address for utterance, address in zip(audible, addresses, strict=True)}
    notes = [f"{len(shown)} utterances", *_notes(decoded, len(utterances), len(shown), missing)]
    with open_atomic(page) as file:
        file.write(head(f"{results['recipe']}: {results['tag']}"))
        file.write(f"<header><h1>{escape(results['recipe'])}: {escape(results['tag'])}</h1><p>{escape(conditions(results))}</p>")
        file.write(f"<p>{escape('; '.join(notes))}.</p>{NAVIGATION}</header>\n")
        file.writelines(totals(results))
        file.writelines(confused(decoded))
        file.writelines(controls(decoded))
        for name, utt, item, answers in shown:
            file.writelines(card(utt, name, item.seconds if item else None, sources.get((name, utt), ""), answers))
        file.write(FOOT)
    return f"{page}: {'; '.join(notes)}"


def _utterances(decoded: Sequence[Decoded], data: Path) -> list[PageUtterance]:
    """All utterances, by set and then by id, each with the decoded folders that have it."""
    sets: dict[str, dict[str, PageUtterance]] = {}
    for name in dict.fromkeys(answer.set for answer in decoded):
        items = {item.utt: item for item in read_items(data / name)} if (data / name / "wav.scp").is_file() else {}
        utterances = sets.setdefault(name, {})
        of_set = [answer for answer in decoded if answer.set == name]
        for answer in sorted(of_set, key=lambda answer: answer.objective):  # the searches of an objective come one after the other
            for row, utt in enumerate(answer.utts):
                utterances.setdefault(utt, PageUtterance(name, utt, items.get(utt), [])).answers.append((answer, row))
    return [utterances[utt] for utterances in sets.values() for utt in sorted(utterances, key=str.encode)]


def _worst(utterances: Sequence[PageUtterance], most: int) -> list[PageUtterance]:
    """At most `most` utterances, the same share of each set, those with the most errors, in their old order."""
    if len(utterances) <= most:
        return list(utterances)
    sizes = Counter(utterance.set for utterance in utterances)
    room = {name: most * size // len(utterances) for name, size in sizes.items()}
    chosen = set()
    for index in sorted(range(len(utterances)), key=lambda index: utterances[index].sort_key, reverse=True):
        name = utterances[index].set
        if room[name] > 0:
            room[name] -= 1
            chosen.add(index)
    return [utterance for index, utterance in enumerate(utterances) if index in chosen]


def _notes(decoded: Sequence[Decoded], utterances: int, shown: int, missing: Counter[str]) -> Iterator[str]:
    """Notes on the utterances and players that the page leaves out, and why."""
    if utterances > shown:
        yield f"{utterances - shown} more have fewer errors and are left out to keep the page usable"
    most = Counter()
    for answer in decoded:
        most[answer.set] = max(most[answer.set], answer.decoded)
    if unscored := most.total() - utterances:
        yield f"{unscored} were decoded but not scored, as their reference is too short or missing"
    if missing.total():
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(missing.items()) if count)
        yield f"{missing.total()} without a player ({reasons})"
