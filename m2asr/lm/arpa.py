"""Reads n-gram models from ARPA files, also those of SRILM, KenLM and IRSTLM."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NoReturn

import numpy as np
from tqdm import tqdm

from m2asr.errors import UserError
from m2asr.lm.lines import open_lines
from m2asr.lm.table import BOS, EOS, LOG10, UNK, ZERO, Order, Table, find_ngrams
from m2asr.progress import visible

_CHUNK = 20_000  # n-grams parsed at once
_SPELLINGS = {"<UNK>": UNK, "<S>": BOS, "</S>": EOS}


def read_arpa(path: Path) -> Table:
    """Read the model of an ARPA file, which gzip may have packed.

    Missing back-off weights are 0, a log of -99 or less is a probability of zero, n-grams may come in any order. Raises UserError
    (file:line) if the file is truncated or wrong.
    """
    with open_lines(path) as lines, tqdm(desc=f"read {path.name}", unit="n-gram", unit_scale=True, disable=not visible()) as bar:
        return _Reader(path, lines, bar).table()


class _Reader:
    """Reads an ARPA file; `number` is its current line, `index` has the words of its unigrams."""

    def __init__(self, path: Path, lines: Iterator[bytes], bar: tqdm) -> None:
        self.path, self.lines, self.bar = path, lines, bar
        self.number = 0  # of the last line read, from 1
        self.index: dict[bytes, int] = {}  # word, as the file spells it -> number

    def fail(self, problem: str, line: int | None = None) -> NoReturn:
        raise UserError(f"{self.path}:{line or self.number}: {problem}")

    def line(self) -> bytes:
        """The next line that is not empty, without the spaces around it."""
        for line in self.lines:
            self.number += 1
            if line := line.strip():
                return line
        self.fail("the file ends before \\end\\: it is truncated, or no ARPA file")

    def table(self) -> Table:
        while self.line().lower() != b"\\data\\":  # SRILM allows comments before it
            pass
        counts: list[int] = []
        while not (line := self.line()).startswith(b"\\"):
            match = re.fullmatch(rb"ngram\s+(\d+)\s*=\s*(\d+)", line)
            if match is None or int(match[1]) != len(counts) + 1:
                self.fail(f"`{_shown(line)}` where `ngram {len(counts) + 1}=<count>` or \\1-grams: is expected")
            counts.append(int(match[2]))
        words: list[str] = []
        orders: list[Order] = []
        for n, count in enumerate(counts, 1):
            self.expect(f"\\{n}-grams:", line)
            if n == 1:
                words, order = self.unigrams(count)
            else:
                order = self.ngrams(n, count, [order.keys(len(words)) for order in orders])
            orders.append(order)
            line = self.line()
        self.expect("\\end\\", line)
        for _ in self.lines:  # so that gzip sees the checksum
            pass
        while orders and not len(orders[-1]):
            orders.pop()
        if not orders:
            self.fail("the model has no words")
        return Table(words, orders)

    def expect(self, section: str, line: bytes) -> None:
        if line.lower() != section.encode():
            self.fail(f"`{_shown(line)}` where {section} is expected; do the counts under \\data\\ fit the n-grams?")

    def unigrams(self, count: int) -> tuple[list[str], Order]:
        words, values = [], []
        for rows, numbers in self.chunks(1, count):
            for row, number in zip(rows, numbers, strict=True):
                if row[1] in self.index:
                    self.fail(f"the word `{_shown(row[1])}` has two lines among the unigrams", number)
                self.index[row[1]] = len(self.index)
                try:
                    words.append(row[1].decode())
                except UnicodeDecodeError:
                    self.fail(f"the word `{_shown(row[1])}` is not UTF-8; convert the file", number)
            values.append(self.weights(1, rows, numbers))
        spellings = set(words)
        words = [_SPELLINGS[word] if word in _SPELLINGS and _SPELLINGS[word] not in spellings else word for word in words]
        if missing := [word for word in (BOS, EOS) if word not in words]:
            self.fail(f"the unigrams lack {' and '.join(missing)}")
        log_prob, backoff = (np.concatenate(arrays) for arrays in zip(*values, strict=True))
        log_prob[words.index(BOS)] = ZERO  # never predicted; KenLM writes 0
        zeros = np.zeros(count, np.int32)
        return words, Order(zeros, np.arange(count, dtype=np.int32), zeros, log_prob, backoff)

    def ngrams(self, n: int, count: int, keys: Sequence[np.ndarray]) -> Order:
        """Read the n-grams of order n and sort them; `keys` are the keys of the lower orders."""
        chunks, starts = [], []
        for rows, numbers in self.chunks(n, count):
            starts.append(numbers[0])
            ids = self.ids(n, rows, numbers)
            context, suffix = find_ngrams(keys, ids[:, :-1]), find_ngrams(keys, ids[:, 1:])
            if (context < 0).any():
                bad = int(np.argmax(context < 0))
                self.fail(f"`{_shown(b' '.join(rows[bad][1:n]))}`, the context, is not among the {n - 1}-grams", numbers[bad])
            numbered = (array.astype(np.int32) for array in (context, ids[:, -1], suffix))
            chunks.append((*numbered, *self.weights(n, rows, numbers)))
        if not chunks:
            return Order(*(np.zeros(0, np.int32),) * 3, *(np.zeros(0, np.float32),) * 2)
        order = Order(*(np.concatenate(arrays) for arrays in zip(*chunks, strict=True)))
        order_keys = order.keys(len(self.index))
        if (order_keys[1:] > order_keys[:-1]).all():
            return order
        by_key = np.argsort(order_keys)
        if (duplicates := np.flatnonzero(np.diff(order_keys[by_key]) == 0)).size:
            later = int(by_key[duplicates[0] : duplicates[0] + 2].max())
            self.fail(f"this n-gram has two lines among the {n}-grams", starts[later // _CHUNK] + later % _CHUNK)
        return Order(*(array[by_key] for array in vars(order).values()))

    def chunks(self, n: int, count: int) -> Iterator[tuple[list[list[bytes]], list[int]]]:
        """Read the n-grams of order n in chunks; yields their fields and their line numbers."""
        for begin in range(0, count, _CHUNK):
            rows: list[list[bytes]] = []
            numbers: list[int] = []
            while remaining := min(count - begin, _CHUNK) - len(rows):
                fields = [line.split() for line in islice(self.lines, remaining)]
                lines = range(self.number + 1, self.number + 1 + len(fields))
                self.number += len(fields)
                if not fields:
                    self.fail(f"the file ends after {begin + len(rows)} of the {count} {n}-grams: it is truncated")
                if not {len(row) for row in fields} <= {n + 1, n + 2}:
                    lines = [number for number, row in zip(lines, fields, strict=True) if row]  # there are empty lines, or wrong ones
                    fields = [row for row in fields if row]
                    self.check(n, count, begin + len(rows), fields, lines)
                rows += fields
                numbers += lines
            self.bar.update(len(rows))
            yield rows, numbers

    def check(self, n: int, count: int, before: int, rows: list[list[bytes]], numbers: list[int]) -> None:
        """Raise UserError if a line is no n-gram of order n; `before` n-grams of this order were read already."""
        for i, (row, number) in enumerate(zip(rows, numbers, strict=True), before):
            if len(row) == 1 and row[0].startswith(b"\\"):
                self.fail(f"`{_shown(row[0])}` after {i} of the {count} {n}-grams that \\data\\ announces", number)
            if not n + 1 <= len(row) <= n + 2:
                self.fail(f"{len(row)} fields; a log-probability, {n} words and at most a back-off weight are expected", number)

    def weights(self, n: int, rows: list[list[bytes]], numbers: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Natural log-probabilities and back-off weights, (M,) float32."""
        log_probs = self.floats([row[0] for row in rows], numbers)
        backoffs = self.floats([row[n + 1] if len(row) == n + 2 else b"0" for row in rows], numbers)
        if (log_probs > 0).any():
            bad = int(np.argmax(log_probs > 0))
            self.fail(f"the log-probability {_shown(rows[bad][0])} is positive: a probability above 1", numbers[bad])
        return tuple(np.maximum(values * LOG10, ZERO).astype(np.float32) for values in (log_probs, backoffs))

    def floats(self, fields: list[bytes], numbers: list[int]) -> np.ndarray:
        try:
            values = np.array(list(map(float, fields)))
            if (values < np.inf).all():
                return values
        except ValueError:
            pass
        wrong = next(i for i, field in enumerate(fields) if not _is_number(field))
        self.fail(f"`{_shown(fields[wrong])}` is no number", numbers[wrong])

    def ids(self, n: int, rows: list[list[bytes]], numbers: list[int]) -> np.ndarray:
        """The numbers of the words of n-grams, (M, n) int64."""
        try:
            return np.array([self.index[word] for row in rows for word in row[1 : n + 1]]).reshape(-1, n)
        except KeyError:
            bad = next(i for i, row in enumerate(rows) if not self.index.keys() >= set(row[1 : n + 1]))
            word = next(word for word in rows[bad][1 : n + 1] if word not in self.index)
            self.fail(f"`{_shown(word)}` is not among the unigrams", numbers[bad])


def _is_number(field: bytes) -> bool:
    try:
        return float(field) < np.inf
    except ValueError:
        return False


def _shown(text: bytes) -> str:
    """Bytes of a file as text for a message, shortened if long."""
    shown = text.decode(errors="replace")
    return shown if len(shown) <= 60 else shown[:60] + "..."
