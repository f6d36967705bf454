"""Word and character error rates with their kinds of errors, over a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jiwer
import numpy as np


@dataclass
class Errors:
    """Errors of every utterance, and the alignments they were counted on.

    counts: (N, 4) substitutions, deletions, insertions, reference tokens. references, hypotheses: the token sequences;
    alignments: jiwer's chunks per utterance.
    """

    counts: np.ndarray
    references: list[list[str]]
    hypotheses: list[list[str]]
    alignments: list[list[jiwer.AlignmentChunk]]

    @property
    def rate(self) -> float:
        """Errors over reference tokens of the whole corpus; nan without a reference."""
        total = self.counts[:, 3].sum()
        return float(self.counts[:, :3].sum() / total) if total else float("nan")


def word_errors(references: Sequence[str], hypotheses: Sequence[str]) -> Errors:
    """Errors in words; texts must be normalized already."""
    return _errors([text.split() for text in references], [text.split() for text in hypotheses])


def character_errors(references: Sequence[str], hypotheses: Sequence[str]) -> Errors:
    """Errors in characters, spaces between words included."""
    return _errors([list(" ".join(text.split())) for text in references], [list(" ".join(text.split())) for text in hypotheses])


def _errors(references: list[list[str]], hypotheses: list[list[str]]) -> Errors:
    counts = np.zeros((len(references), 4), dtype=np.int64)
    alignments: list[list[jiwer.AlignmentChunk]] = []
    # tokens become single characters, so that one character-level call aligns any kind of token and keeps spaces
    codes: dict[str, str] = {}
    for row, (reference, hypothesis) in enumerate(zip(references, hypotheses, strict=True)):
        chunks: list[jiwer.AlignmentChunk] = []
        if not reference:
            if hypothesis:
                chunks = [jiwer.AlignmentChunk("insert", 0, 0, 0, len(hypothesis))]
        elif not hypothesis:
            chunks = [jiwer.AlignmentChunk("delete", 0, len(reference), 0, 0)]
        else:
            left, right = (
                "".join(codes.setdefault(token, chr(0xF0000 + len(codes))) for token in tokens) for tokens in (reference, hypothesis)
            )
            chunks = jiwer.process_characters(left, right, _KEEP, _KEEP).alignments[0]
        alignments.append(chunks)
        for chunk in chunks:
            kind = {"substitute": 0, "delete": 1, "insert": 2}.get(chunk.type)
            if kind is not None:
                counts[row, kind] += max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
        counts[row, 3] = len(reference)
    return Errors(counts, references, hypotheses, alignments)


_KEEP = jiwer.Compose([jiwer.ReduceToListOfListOfChars()])
