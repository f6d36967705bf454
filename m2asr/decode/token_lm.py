"""An n-gram model of a tokenizer's tokens as a scorer of prefixes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m2asr.errors import UserError
from m2asr.lm.ngram import NgramModel
from m2asr.text.tokenizer import BLANK, UNK, Tokenizer

MAX_NAMED = 5  # tokens that a message names
MEMORY = 1 << 27  # bytes of the rows in memory


class TokenNgram:
    """Scores of tokens by an n-gram over tokens; raises UserError, which names `where`, for a model of different tokens.

    The score of the blank is 0, that of the unknown token is the one of <unk>; without <unk> in the model it is very low.
    """

    most_gain = 0.0

    def __init__(self, model: NgramModel, tokenizer: Tokenizer, where: str) -> None:
        self.model, self.vocab, self.start = model, tokenizer.size, model.start
        pieces = tokenizer.tokens[UNK + 1 : -1]
        unknown = [piece for piece in pieces if piece not in model.index]
        if unknown:
            examples = " ".join(unknown[:MAX_NAMED])
            raise UserError(
                f"{where}: a model of different tokens: it lacks {len(unknown)} of the {len(pieces)} of the tokenizer, such as {examples}; "
                "estimate it over this tokenizer (stage 2), or use it as a model of words"
            )
        unk = model.bos if model.unk is None else model.unk  # <s> follows no word, so its score is very low
        words = [model.bos, unk, *(model.index[piece] for piece in pieces), model.eos]  # of the model, by token
        self.tokens = np.full(len(model.words), tokenizer.size)  # word of the model -> token; the others go to an extra column
        self.tokens[words[UNK:]] = np.arange(UNK, tokenizer.size)
        self.keys, self.log_probs, self.next_states, self.first, self.backoffs, self.suffixes = map(
            np.asarray, (model.keys, model.log_probs, model.next_states, model.first, model.backoffs, model.suffixes)
        )
        self.unigrams = np.append(self.log_probs[words], np.float32(0)), np.append(self.next_states[words], 0)
        self.rows: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def expand(self, states: Sequence[int]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Natural log-probabilities (N, V) of every token, the last being the end, after N states; and the states after each token."""
        if len(self.rows) * 12 * self.vocab > MEMORY:  # 4 bytes of a score, 8 of a state
            self.rows.clear()
        rows = [self._row(state) for state in states]
        scores = np.stack([row[: self.vocab] for row, _ in rows])
        scores[:, BLANK] = 0.0
        return scores, [next_states for _, next_states in rows]

    def _row(self, state: int) -> tuple[np.ndarray, np.ndarray]:
        """Log-probabilities and next states (V + 1,): those of the shorter context, except for the n-grams that the model lists."""
        if state == self.model.empty:
            return self.unigrams
        if state not in self.rows:
            scores, next_states = self._row(int(self.suffixes[state]))
            scores, next_states = scores + self.backoffs[state], next_states.copy()
            listed = slice(self.first[state], self.first[state + 1])
            tokens = self.tokens[self.keys[listed] - state * len(self.tokens)]
            scores[tokens], next_states[tokens] = self.log_probs[listed], self.next_states[listed]
            self.rows[state] = scores, next_states
        return self.rows[state]
