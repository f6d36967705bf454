"""Models to test with: the textbook back-off recursion, random ARPA files, and a slow interpolated Kneser-Ney."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

Ngram = tuple[str, ...]


class Recursion:
    """p(w | h) as ARPA files define it, in natural logarithms, read line by line."""

    def __init__(self, path: Path) -> None:
        self.log_probs: dict[Ngram, float] = {}
        self.backoffs: dict[Ngram, float] = {}
        self.order = 0
        for line in path.read_text().splitlines():
            if line.endswith("-grams:"):
                self.order = int(line[1 : line.index("-")])
            elif self.order and line and not line.startswith("\\"):
                fields = line.split()
                ngram = tuple(fields[1 : self.order + 1])
                self.log_probs[ngram] = float(fields[0]) * math.log(10)
                self.backoffs[ngram] = float(fields[self.order + 1]) * math.log(10) if len(fields) > self.order + 1 else 0.0

    def score(self, history: Ngram, word: str) -> float:
        """log p(word | history); only the last order - 1 words of the history count."""
        return self._score(history[-(self.order - 1) :] if self.order > 1 else (), word)

    def _score(self, history: Ngram, word: str) -> float:
        if (*history, word) in self.log_probs:
            return self.log_probs[(*history, word)]
        return self.backoffs.get(history, 0.0) + self._score(history[1:], word)


def write_random_arpa(path: Path, seed: int, order: int = 4) -> None:
    """An ARPA file over a to e with random n-grams, some without their suffix, and random back-off weights, some missing or above 1."""
    rng = random.Random(seed)
    words = ["<unk>", "<s>", "</s>", *"abcde"]
    orders: list[list[Ngram]] = [[(word,) for word in words]]
    for _ in range(order - 1):
        extended = [(*ngram, word) for ngram in orders[-1] for word in words if ngram[-1] != "</s>" and word != "<s>"]
        orders.append(rng.sample(extended, len(extended) // 2))
    lines = ["\\data\\", *(f"ngram {n}={len(ngrams)}" for n, ngrams in enumerate(orders, 1)), ""]
    for n, ngrams in enumerate(orders, 1):
        lines.append(f"\\{n}-grams:")
        for ngram in ngrams:
            log_prob = -99 if ngram == ("<s>",) else round(rng.uniform(-3, -0.01), 4)
            backoff = f"\t{rng.uniform(-1, 0.3):.4f}" if n < order and rng.random() < 0.7 else ""
            lines.append(f"{log_prob}\t{' '.join(ngram)}{backoff}")
        lines.append("")
    path.write_text("\n".join([*lines, "\\end\\", ""]))


class SlowKneserNey:
    """Interpolated modified Kneser-Ney as Chen & Goodman (1999) write it, by dictionaries; without discounts an order is Witten-Bell."""

    def __init__(self, sentences: Sequence[Sequence[str]], order: int, vocabulary: int) -> None:
        self.order, self.uniform = order, 1 / vocabulary
        raw: list[Counter[Ngram]] = [Counter() for _ in range(order + 1)]
        for sentence in sentences:
            padded = ("<s>", *sentence, "</s>")
            for n in range(1, order + 1):
                raw[n].update(padded[i : i + n] for i in range(len(padded) - n + 1))
        self.counts, self.discounts = {order: dict(raw[order])}, {}
        for n in range(order, 0, -1):
            if n < order:
                before = defaultdict(set)
                for ngram in raw[n + 1]:
                    before[ngram[1:]].add(ngram[0])
                kneser_ney = self.discounts[n + 1] is not None
                self.counts[n] = {
                    ngram: len(before[ngram]) if kneser_ney and ngram[0] != "<s>" else count for ngram, count in raw[n].items()
                }
            if n == 1:
                self.counts[1].pop(("<s>",), None)
            times = Counter(self.counts[n].values())
            self.discounts[n] = self._discounts(*(times[k] for k in (1, 2, 3, 4)))
        self.after: dict[Ngram, dict[str, int]] = defaultdict(dict)
        for counts in self.counts.values():
            for ngram, count in counts.items():
                self.after[ngram[:-1]][ngram[-1]] = count

    @staticmethod
    def _discounts(n1: int, n2: int, n3: int, n4: int) -> tuple[float, ...] | None:
        if not n1 * n2 * n3 * n4:
            return None
        y = n1 / (n1 + 2 * n2)
        discounts = (0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
        return discounts if all(0 < discount <= k for k, discount in enumerate(discounts) if k) else None

    def prob(self, history: Ngram, word: str) -> float:
        """p(word | history) for a history of at most order - 1 words."""
        shorter = self.prob(history[1:], word) if history else self.uniform
        after, discounts = self.after.get(history, {}), self.discounts[len(history) + 1]
        if not after:
            return shorter
        count, total = after.get(word, 0), sum(after.values())
        if discounts is None:
            return (count + len(after) * shorter) / (total + len(after))
        remaining = sum(discounts[min(c, 3)] for c in after.values())
        return (max(count - discounts[min(count, 3)], 0) + remaining * shorter) / total
