"""Small tokenizers, language models and CTC outputs, and brute force over all that a search may find."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from m2asr.decode.prefix_table import PrefixModel
from m2asr.lm.arpa import read_arpa
from m2asr.lm.build import estimate_model
from m2asr.lm.ngram import NgramModel
from m2asr.lm.sources import Sources
from m2asr.objectives.ctc import collapse
from m2asr.text.tokenizer import SPACE, SPECIAL_FIRST, SPECIAL_LAST, Tokenizer
from tests.lm.models import write_random_arpa

TEXTS = ["ab ba", "a b", "ba", "abba ab a", "b a b", "aab b", "ab", "ab ab ba"]


def letters(pieces: Sequence[str]) -> Tokenizer:
    """A character tokenizer; a space among its pieces is written as one."""
    return Tokenizer("char", [*SPECIAL_FIRST, *(SPACE if piece == " " else piece for piece in pieces), *SPECIAL_LAST])


def estimated(folder: Path, texts: Sequence[str] = TEXTS, tokenizer: Tokenizer | None = None, order: int = 3) -> NgramModel:
    """A model of texts, over the tokens of a tokenizer or, without one, over words."""
    path = folder / "texts"
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return NgramModel.from_table(estimate_model(Sources([path], tokenizer=tokenizer), order, [0] * order, 0.0, folder).table)


def from_random_arpa(folder: Path, seed: int, order: int = 4) -> NgramModel:
    """A model over the words a to e whose n-grams and back-off weights are random."""
    write_random_arpa(folder / f"{seed}.arpa", seed, order)
    return NgramModel.from_table(read_arpa(folder / f"{seed}.arpa"))


def ctc_output(batch: int, frames: int, vocab: int, seed: int, sharp: float = 1.0) -> torch.Tensor:
    """Log-probabilities (B, T, V)."""
    generator = torch.Generator().manual_seed(seed)
    return (sharp * torch.randn(batch, frames, vocab, generator=generator, dtype=torch.float64)).log_softmax(-1)


def all_labels(log_probs: torch.Tensor) -> dict[tuple[int, ...], float]:
    """The log-probability of every label sequence: a sum over all alignments of (T, V)."""
    totals: dict[tuple[int, ...], float] = {}
    rows = log_probs.tolist()
    for path in itertools.product(range(log_probs.shape[1]), repeat=log_probs.shape[0]):
        labels = tuple(collapse(list(path)))
        totals[labels] = totals.get(labels, 0.0) + math.exp(sum(rows[t][label] for t, label in enumerate(path)))
    return {labels: math.log(total) for labels, total in totals.items()}


def walk(model: PrefixModel, tokens: Sequence[int]) -> list[float]:
    """What a text model gives to every token of a text and to its end, asked token by token without any table."""
    state, scores = model.start, []
    for token in tokens:
        rows, after = model.expand([state])
        scores.append(float(rows[0, token]))
        state = after[0][token]
    return [*scores, float(model.expand([state])[0][0, -1])]


def ended_after_every_token(model: PrefixModel, tokens: Sequence[int]) -> Iterator[float]:
    """What a text model gives to the text of the first 0, 1, ... all tokens and its end: the sums of `walk`, in a single walk."""
    state, score = model.start, 0.0
    for token in [*tokens, None]:
        rows, after = model.expand([state])
        yield score + float(rows[0, -1])
        if token is not None:
            score, state = score + float(rows[0, token]), after[0][token]


TextScore = Callable[[Sequence[int]], float]


def fused(labels: dict[tuple[int, ...], float], models: Sequence[tuple[float, TextScore]], bonus: float) -> dict[tuple[int, ...], float]:
    """Scores of label sequences with what text models add: score = log p + sum of weight * score + bonus * tokens."""
    return {text: score + sum(weight * of(text) for weight, of in models) + bonus * len(text) for text, score in labels.items()}


def hot_tokens(text: Sequence[int], tokenizer: Tokenizer, hot_words: Sequence[str]) -> int:
    """Tokens in hot words, taken from left to right, the longest first; the unknown token is no letter of any."""
    spelled = "".join("?" if token == 1 else tokenizer.tokens[token] for token in text).replace(SPACE, " ")
    position = score = 0
    while position < len(spelled):
        begins = position == 0 or spelled[position - 1] == " "
        ends = [len(hot) for hot in hot_words if spelled.startswith(hot, position) and spelled[position + len(hot) :][:1] in ("", " ")]
        step = max(ends) if begins and ends else 0
        score, position = score + step, position + max(step, 1)
    return score
