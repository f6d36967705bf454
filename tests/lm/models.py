"""Small models and the textbook recursion they are compared with."""

from __future__ import annotations

import math
from pathlib import Path

ARPA = """\\data\\
ngram 1=5
ngram 2=5
ngram 3=3

\\1-grams:
-1.2\t<unk>
-99\t<s>\t-0.4
-0.6\t</s>
-0.5\ta\t-0.3
-0.4\tb\t-0.2

\\2-grams:
-0.2\t<s> a\t-0.1
-0.3\ta b\t-0.5
-0.7\tb a
-0.4\ta a\t0.1
-0.9\tb </s>

\\3-grams:
-0.1\t<s> a b
-0.6\ta b </s>
-0.3\tb a b

\\end\\
"""


class Recursion:
    """The back-off recursion over the lines of an ARPA file, in natural logarithms."""

    def __init__(self, path: Path) -> None:
        self.log_probs: dict[tuple[str, ...], float] = {}
        self.backoffs: dict[tuple[str, ...], float] = {}
        self.order = 0
        for line in path.read_text().splitlines():
            if line.endswith("-grams:"):
                self.order = int(line[1 : line.index("-")])
            elif self.order and line and not line.startswith("\\"):
                fields = line.split()
                ngram = tuple(fields[1 : self.order + 1])
                self.log_probs[ngram] = float(fields[0]) * math.log(10)
                self.backoffs[ngram] = float(fields[self.order + 1]) * math.log(10) if len(fields) > self.order + 1 else 0.0

    @property
    def words(self) -> list[str]:
        return [ngram[0] for ngram in self.log_probs if len(ngram) == 1]

    def score(self, history: tuple[str, ...], word: str) -> float:
        """log p(word | history); only the last order - 1 words of the history count."""
        history = history[-(self.order - 1) :] if self.order > 1 else ()
        if (*history, word) in self.log_probs:
            return self.log_probs[(*history, word)]
        return self.backoffs.get(history, 0.0) + self.score_shorter(history[1:], word)

    def score_shorter(self, history: tuple[str, ...], word: str) -> float:
        if (*history, word) in self.log_probs:
            return self.log_probs[(*history, word)]
        return self.backoffs.get(history, 0.0) + self.score_shorter(history[1:], word)
