"""Writes n-gram models as ARPA files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from tqdm import tqdm

from m2asr.files import open_atomic
from m2asr.lm.table import LOG10, Table
from m2asr.progress import visible

_CHUNK = 100_000  # n-grams formatted at once


def write_arpa(path: Path, table: Table) -> None:
    """Write a model as an ARPA file, packed by gzip where the name ends in .gz; SRILM, KenLM and IRSTLM read it."""
    total = sum(len(order) for order in table.orders)
    spelled = np.array([word.encode() for word in table.words], object)
    bar = tqdm(total=total, desc=f"write {path.name}", unit="n-gram", unit_scale=True, disable=not visible())
    with open_atomic(path, "wb") as raw, bar:
        file = gzip.GzipFile("", "wb", 6, raw, mtime=0) if path.suffix == ".gz" else raw
        file.write(b"\\data\\\n" + b"".join(b"ngram %d=%d\n" % (n, len(order)) for n, order in enumerate(table.orders, 1)))
        for n, order in enumerate(table.orders, 1):
            file.write(b"\n\\%d-grams:\n" % n)
            for begin in range(0, len(order), _CHUNK):
                rows = slice(begin, begin + _CHUNK)
                fields = [order.log_prob[rows].astype(np.float64) / LOG10, *spelled[table.ngrams(n, rows)].T]
                line = b"%.7g\t" + b" ".join([b"%b"] * n)
                if n < len(table.orders):
                    fields.append(order.backoff[rows].astype(np.float64) / LOG10)
                    line += b"\t%.7g"
                file.write(_format(line + b"\n", fields))
                bar.update(len(fields[0]))
        file.write(b"\n\\end\\\n")
        if file is not raw:
            file.close()


def _format(line: bytes, fields: list[np.ndarray]) -> bytes:
    """Fill the pattern `line` with every row of the columns `fields`, and join the lines."""
    rows = zip(*(column.tolist() for column in fields), strict=True)
    return line * len(fields[0]) % tuple(value for row in rows for value in row)
