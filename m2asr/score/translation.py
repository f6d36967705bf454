"""BLEU and chrF of translations, by sacrebleu."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

from m2asr.text.language import language_of


@dataclass
class TranslationScores:
    """One metric on one set: `statistics` (N, S) are additive counts of each sentence, from which any resample can be scored."""

    metric: BLEU | CHRF
    statistics: np.ndarray
    name: str  # the metric's name in sacrebleu

    @property
    def score(self) -> float:
        """The score of the whole set, 0 to 100."""
        return self.score_of(self.statistics.sum(0))

    def score_of(self, sums: np.ndarray) -> float:
        """The score of summed statistics (S,)."""
        return float(self.metric._compute_score_from_stats(sums.tolist()).score)

    @property
    def signature(self) -> str:
        """sacrebleu's signature of the metric, such as BLEU|nrefs:1|case:mixed|..."""
        return f"{self.name}|{self.metric.get_signature()}"


def translation_scores(kind: str, references: Sequence[str], hypotheses: Sequence[str], lang: str) -> TranslationScores:
    """Score cased and punctuated hypotheses against one reference each; `kind` is bleu or chrf, `lang` the target language."""
    metric = BLEU(tokenize=bleu_tokenizer(lang)) if kind == "bleu" else CHRF()
    name = metric.corpus_score(list(hypotheses), [list(references)]).name  # this call also completes the signature
    statistics = metric._extract_corpus_statistics(list(hypotheses), [list(references)])
    return TranslationScores(metric, np.array(statistics, dtype=np.float64), name)


def bleu_tokenizer(lang: str) -> str:
    """sacrebleu's tokenizer for a language: `zh` and `char` make tokens of characters where there are no spaces between words.

    sacrebleu has ja-mecab and ko-mecab too, which need further packages, and flores200, which downloads a model. `zh` separates Chinese
    characters only, no Japanese kana.
    """
    language = language_of(lang)
    return "zh" if language.chinese else "char" if language.unspaced else "13a"
