"""Word, character and mixed error rates with their kinds of errors, over a corpus."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import jiwer
import numpy as np

from m2asr.text.language import language_of
from m2asr.text.scripts import is_unspaced, mixed_tokens

KINDS = {"substitute": 0, "delete": 1, "insert": 2}


@dataclass
class Errors:
    """Errors of every utterance, and the alignments from which they were counted.

    counts: (N, 4) substitutions, deletions, insertions, reference tokens. references, hypotheses: the token sequences;
    alignments: jiwer's chunks per utterance.
    """

    counts: np.ndarray
    references: list[list[str]]
    hypotheses: list[list[str]]
    alignments: list[list[jiwer.AlignmentChunk]]

    @property
    def rate(self) -> float:
        """Errors over reference tokens of the corpus; nan without a reference."""
        total = self.counts[:, 3].sum()
        return float(self.counts[:, :3].sum() / total) if total else float("nan")

    def aligned(self, row: int) -> Iterator[tuple[str, str]]:
        """The pairs (reference token, hypothesis token) of an alignment; a missing token is an empty string."""
        for chunk in self.alignments[row]:
            reference = self.references[row][chunk.ref_start_idx : chunk.ref_end_idx]
            hypothesis = self.hypotheses[row][chunk.hyp_start_idx : chunk.hyp_end_idx]
            yield from zip_longest(reference, hypothesis, fillvalue="")


def word_errors(references: Sequence[str], hypotheses: Sequence[str]) -> Errors:
    """Errors in words; the texts must be normalized, and may be empty."""
    return _errors(jiwer.process_words(_single_spaces(references), _single_spaces(hypotheses)))


def character_errors(references: Sequence[str], hypotheses: Sequence[str]) -> Errors:
    """Errors in characters, spaces between words included."""
    return _errors(jiwer.process_characters(_single_spaces(references), _single_spaces(hypotheses)))


def mixed_errors(references: Sequence[str], hypotheses: Sequence[str]) -> Errors:
    """Errors in words; where a script has no spaces between words, in characters, without regard to spaces."""
    mixed = ([" ".join(mixed_tokens(text)) for text in texts] for texts in (references, hypotheses))
    return _errors(jiwer.process_words(*mixed))


COUNTS = {"wer": word_errors, "mer": mixed_errors, "cer": character_errors}


def metrics_of(references: Sequence[str], languages: Collection[str]) -> list[str]:
    """The keys of COUNTS that tell how well texts in these languages are recognized; the most telling one comes first.

    `wer` needs languages with spaces between words, `mer` references with both: words, and characters of scripts without spaces. Such are
    English names in Chinese, and a set in both languages.
    """
    spaced = not any(language_of(lang).unspaced for lang in languages)
    mixed = {is_unspaced(token) for text in references for token in mixed_tokens(text)} == {True, False}
    return ["wer"] * spaced + ["mer"] * mixed + ["cer"]


def _single_spaces(texts: Sequence[str]) -> list[str]:
    return [" ".join(text.split()) for text in texts]


def _errors(output: jiwer.WordOutput | jiwer.CharacterOutput) -> Errors:
    counts = np.zeros((len(output.references), 4), dtype=np.int64)
    for row, (reference, chunks) in enumerate(zip(output.references, output.alignments, strict=True)):
        for chunk in chunks:
            if chunk.type in KINDS:
                counts[row, KINDS[chunk.type]] += max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
        counts[row, 3] = len(reference)
    return Errors(counts, output.references, output.hypotheses, output.alignments)
