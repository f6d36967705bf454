"""Translation scores: sacrebleu's own, from statistics that add up."""

from __future__ import annotations

import pytest
import sacrebleu

from m2asr.score.translation import translation_scores

REFERENCES = ["Please enter your extension, followed by pound.", "Thank you for calling.", "All circuits are busy now."]
HYPOTHESES = ["Please enter the extension followed by pound.", "Thanks for calling.", "all circuits busy"]


def test_scores_are_those_of_sacrebleu():
    bleu = translation_scores("bleu", REFERENCES, HYPOTHESES, "en")
    chrf = translation_scores("chrf", REFERENCES, HYPOTHESES, "en")
    assert bleu.score == pytest.approx(sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score)
    assert chrf.score == pytest.approx(sacrebleu.corpus_chrf(HYPOTHESES, [REFERENCES]).score)
    assert bleu.signature.startswith("BLEU|nrefs:1") and "tok:13a" in bleu.signature
    assert chrf.signature.startswith("chrF2|nrefs:1") and "nc:6" in chrf.signature


def test_statistics_of_sentences_add_up():
    for kind in ("bleu", "chrf"):
        together = translation_scores(kind, REFERENCES, HYPOTHESES, "en")
        first_two = translation_scores(kind, REFERENCES[:2], HYPOTHESES[:2], "en")
        assert together.score_of(together.statistics[:2].sum(0)) == pytest.approx(first_two.score)


def test_case_and_punctuation_count():
    exact = translation_scores("chrf", REFERENCES, REFERENCES, "en")
    lower = translation_scores("chrf", REFERENCES, [text.lower() for text in REFERENCES], "en")
    assert exact.score == pytest.approx(100) and lower.score < 100
