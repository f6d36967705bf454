"""Measures how well codes agree with phones or letters whose times are known from an alignment."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from m2asr.errors import UserError
from m2asr.files import open_input


class Purity:
    """Counts which label of an alignment lies in the middle of which code.

    The alignment is a file in Kaldi's format CTM, `utterance channel start duration label`, sorted by utterance. Codes where it has no
    label, such as in pauses, are not counted. Purity is the share of codes that have the most frequent label of their cluster; the mutual
    information of codes and labels is divided by the entropy of the labels (Hsu et al. 2021, HuBERT, equation 4).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[tuple[int, str]] = Counter()  # of pairs of a code and a label
        self.codes = 0  # with a label or without
        self._rows = groupby(_ctm_rows(path), key=lambda row: row[0])
        self._next = next(self._rows, None)

    def add(self, utt: str, codes: np.ndarray, times: np.ndarray) -> None:
        """Count the codes (N,) of an utterance with middles at `times` (N,) seconds. Utterances come in C-locale order of their ids."""
        self.codes += len(codes)
        while self._next is not None and self._next[0].encode() < utt.encode():
            self._next = next(self._rows, None)
        if self._next is None or self._next[0] != utt:
            return
        marks = sorted((start, end, label) for _, start, end, label in self._next[1])
        starts = [start for start, _, _ in marks]
        for code, time in zip(codes.tolist(), times.tolist(), strict=True):
            position = bisect_right(starts, time) - 1
            if position >= 0 and time < marks[position][1]:
                self.counts[code, marks[position][2]] += 1

    def __str__(self) -> str:
        labelled = self.counts.total()
        if not labelled:
            return f"purity: unknown, as {self.path} has no label for these utterances"
        by_code, labels, codes = defaultdict(int), Counter(), Counter()
        for (code, label), count in self.counts.items():
            by_code[code] = max(by_code[code], count)
            labels[label] += count
            codes[code] += count
        information = sum(
            count / labelled * math.log(count * labelled / (codes[code] * labels[label])) for (code, label), count in self.counts.items()
        )
        entropy = -sum(count / labelled * math.log(count / labelled) for count in labels.values())
        share = f", {information / entropy:.3f} of the labels' information" if entropy > 0 else ""
        purity, majority = sum(by_code.values()) / labelled, max(labels.values()) / labelled
        return (
            f"purity {purity:.3f} over {len(labels)} labels of {self.path} (a single code: {majority:.3f}){share}; "
            f"{labelled / self.codes:.1%} of the codes have a label"
        )


def _ctm_rows(path: Path) -> Iterator[tuple[str, float, float, str]]:
    """Utterance, start, end and label of every line. Raises UserError (file:line) for other lines and unsorted utterances."""
    last = ""
    with open_input(path, "ctm file") as file:
        for number, line in enumerate(file, 1):
            try:
                fields: Sequence[str] = line.decode().split()
                utt, start, seconds, label = fields[0], float(fields[2]), float(fields[3]), fields[4]
            except (IndexError, ValueError):
                raise UserError(f"{path}:{number}: write `utterance channel start duration label`") from None
            if utt.encode() < last.encode():
                raise UserError(f"{path}:{number}: {utt} is out of order; sort the file by utterance (LC_ALL=C sort)")
            last = utt
            yield utt, start, start + seconds, label
