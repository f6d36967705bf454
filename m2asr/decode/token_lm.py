"""An n-gram model of a tokenizer's tokens as a scorer of prefixes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from m2asr.errors import UserError
from m2asr.lm.ngram import NgramModel
from m2asr.text.tokenizer import BLANK, UNK, Tokenizer

NAMED = 5  # tokens named in a message


class TokenNgram:
    """Scores of tokens by an n-gram whose words they are; raises UserError, naming `where`, for a model of other tokens.

    The blank has no score, the unknown token that of <unk>; a model without <unk> gives it next to nothing.
    """

    most_gain = 0.0

    def __init__(self, model: NgramModel, tokenizer: Tokenizer, where: str) -> None:
        self.model, self.vocab, self.start = model, tokenizer.size, model.start
        pieces = tokenizer.tokens[UNK + 1 : -1]
        unknown = [piece for piece in pieces if piece not in model.index]
        if unknown:
            told = " ".join(unknown[:NAMED])
            raise UserError(
                f"{where}: a model of other tokens: it does not know {len(unknown)} of the {len(pieces)} of the tokenizer, such as {told}; "
                "estimate it over this tokenizer (stage 2), or use it as a model of words"
            )
        unk = model.bos if model.unk is None else model.unk  # <s> never follows
        self.words = np.array([model.bos, unk, *(model.index[piece] for piece in pieces), model.eos])  # token -> word of the model

    def scores(self, states: Sequence[int]) -> np.ndarray:
        """Natural log-probabilities (N, V) of every token after N states of the model, at the last one of the end."""
        rows = self.model.rows(torch.tensor(states)).numpy()[:, self.words]
        rows[:, BLANK] = 0.0
        return rows

    def next(self, states: Sequence[int], tokens: np.ndarray) -> list[int]:
        """The N states after N states and tokens (N,)."""
        return self.model.next(torch.tensor(states), torch.from_numpy(self.words[tokens])).tolist()
