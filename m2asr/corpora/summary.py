"""What a preparation has made and dropped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from m2asr.data.directory import Utterance


class Summary:
    """Counts per set, and utterances that were dropped by reason; `str` gives a table."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, int, float, int, int]] = []
        self.dropped: dict[str, list[str]] = defaultdict(list)

    def add(self, name: str, utterances: Sequence[Utterance]) -> None:
        """Count a finished set."""
        words = sum(len((one.text or "").split()) for one in utterances)
        hours = sum(one.seconds for one in utterances) / 3600
        self.rows.append((name, len(utterances), hours, len({one.speaker for one in utterances}), words))

    def drop(self, reason: str, name: str) -> None:
        """Note an utterance that is in no set."""
        self.dropped[reason].append(name)

    def __str__(self) -> str:
        lines = [f"{'set':<20} {'utterances':>10} {'hours':>8} {'speakers':>8} {'words':>8}"]
        lines += [f"{name:<20} {count:>10} {hours:>8.2f} {speakers:>8} {words:>8}" for name, count, hours, speakers, words in self.rows]
        for reason, names in self.dropped.items():
            lines.append(f"dropped {len(names)}: {reason}: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}")
        return "\n".join(lines)
