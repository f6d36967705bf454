"""An n-gram model of words as a scorer of prefixes in the tokens of any tokenizer; a word is scored when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from m2asr.errors import UserError
from m2asr.lm.ngram import NgramModel
from m2asr.text.tokenizer import SPACE, UNK, Tokenizer, read_bytes

MARKS = ("<s>", "</s>", "<unk>")
UNKNOWN = -15.0  # natural log-probability of a word that a model without <unk> does not know

WordState = tuple[int, str]


class WordNgram:
    """Scores a word at the token that begins the next word, or at the end of the text. Raises UserError if no token begins a word.

    A state is a state of the model and the letters since the last word. If a model has capital letters only, as those published with
    LibriSpeech, words are looked up in capitals.
    """

    most_gain = 0.0

    def __init__(self, model: NgramModel, tokenizer: Tokenizer, where: str) -> None:
        self.model, self.vocab, self.start = model, tokenizer.size, (model.start, "")
        self.pieces = [tokenizer.piece(index) for index in range(self.vocab)]
        capitals = all(word == word.upper() for word in model.words if word not in MARKS)
        lower = any(piece != piece.upper() for piece in tokenizer.tokens[UNK + 1 : -1])
        self.spelled = str.upper if capitals and lower else str
        self.begins = np.array([piece.startswith(SPACE) for piece in self.pieces])  # (V,) tokens that begin a word
        if not self.begins.any():
            raise UserError(f"{where}: a model of words, but no token of the tokenizer begins a word; use a model of its tokens")

    def expand(self, states: Sequence[WordState]) -> tuple[np.ndarray, list[NextWords]]:
        """Natural log-probabilities (N, V): of the word that a token ends, 0 for tokens within a word; the last column is the end."""
        word, after = self._end(states)
        end, _ = self.model.scores(after, torch.full_like(after, self.model.eos))
        rows = (word.numpy()[:, None] * self.begins).astype(np.float32)
        rows[:, -1] = (word + end).numpy()
        return rows, [NextWords(self, state, ended) for state, ended in zip(states, after.tolist(), strict=True)]

    def _end(self, states: Sequence[WordState]) -> tuple[Tensor, Tensor]:
        """Scores (N,) of the words that the letters form, and the states (N,) of the model after them; without letters no word ends."""
        before, letters = zip(*states, strict=True)
        before, words = torch.tensor(before), torch.tensor(self.model.ids([self.spelled(read_bytes(word)) for word in letters]))
        word, after = self.model.scores(before, words)
        word = word.masked_fill(words < 0, UNKNOWN)
        empty = torch.tensor([not word_letters for word_letters in letters])
        return word.masked_fill(empty, 0.0), torch.where(empty, before, after)


@dataclass(frozen=True)
class NextWords:
    """The states after a state: a token continues its word, or ends it; then the model is in the state `ended`."""

    lm: WordNgram
    state: WordState
    ended: int

    def __getitem__(self, token: int) -> WordState:
        piece = self.lm.pieces[token]
        return (self.ended, piece[len(SPACE) :]) if self.lm.begins[token] else (self.state[0], self.state[1] + piece)
