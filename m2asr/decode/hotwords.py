"""Words and phrases that a search prefers, as a scorer of prefixes (contextual biasing)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from m2asr.errors import UserError
from m2asr.text.tokenizer import SPACE, UNK, Tokenizer

ROOT, INSIDE = 0, 1  # states without a phrase: a word may begin; within a word that is in no phrase
OTHER = -1  # stands for a token that no phrase goes on with


class HotWords:
    """Scores 1 for every token of a phrase while it is read, taken back as soon as the text turns out to be another.

    Phrases begin and end where words do, or anywhere where `spaced` is false; in the end those count that a reader meets who takes, from
    left to right, the longest that begins at a word. A state is a node of the tree of the phrases; what follows a broken match is known
    beforehand, as in the automaton of Aho and Corasick (1975). Raises UserError for a phrase that the tokenizer cannot write.
    """

    most_gain = 1.0
    start = ROOT

    def __init__(self, phrases: Sequence[str], tokenizer: Tokenizer, spaced: bool = True) -> None:
        self.vocab = tokenizer.size
        starts = np.array([piece.startswith(SPACE) for piece in tokenizer.tokens])
        spaced = spaced and bool(starts.any())
        self.boundary = starts if spaced else np.ones(self.vocab, bool)  # (V,) tokens before which a word has ended
        self.boundary[-1] = True  # the end of the text
        self.apart = spaced and tokenizer.kind == "char"  # spaces are tokens of their own: a word begins after one, not with one
        self.outside = INSIDE if self.apart else ROOT  # after a token that is in no phrase
        self.space = tokenizer.ids.get(SPACE, OTHER)
        self.children: list[dict[int, int]] = [{}, {}]
        self.paths: list[tuple[int, ...]] = [(), ()]
        self.whole = [False, False]  # whether a phrase ends at the node
        for phrase in phrases:
            tokens = write(phrase, tokenizer)
            self._add(tokens)
            if not spaced and tokenizer.tokens[tokens[0]].startswith(SPACE):
                self._add(_within(tokens, tokenizer))
        self.fallback = [ROOT] * len(self.paths)  # where a match that breaks at a node goes on ...
        self.change = [0.0] * len(self.paths)  # ... and how the score changes
        for node in sorted(range(len(self.paths)), key=lambda node: len(self.paths[node]))[2:]:
            self._set_fallback(node)

    def expand(self, states: Sequence[int]) -> tuple[np.ndarray, list[NextNodes]]:
        """What every token adds (N, V) after N states; the last one, the end, takes back what did not become a phrase."""
        return np.stack([self._row(state) for state in states]), [NextNodes(self, state) for state in states]

    def step(self, node: int, token: int) -> tuple[int, float]:
        """The node after a token, and what the token adds to the score."""
        return self._step(node, token, bool(self.boundary[token]))

    def _add(self, tokens: Sequence[int]) -> None:
        node = ROOT
        for number, token in enumerate(tokens, 1):
            if token not in self.children[node]:
                self.children[node][token] = len(self.paths)
                self.children.append({})
                self.paths.append(tuple(tokens[:number]))
                self.whole.append(False)
            node = self.children[node][token]
        self.whole[node] = node != ROOT

    def _set_fallback(self, node: int) -> None:
        """A broken match keeps the longest phrase that ended in it, or gives up its first token; what follows is read again."""
        path, kept, before = self.paths[node], 0, ROOT
        for size, token in enumerate(path):
            if self.whole[before] and self.boundary[token]:
                kept = size
            before = self.children[before][token]
        after, score = self.outside, float(kept)
        for token in path[max(kept, 1) :]:
            after, gain = self.step(after, token)
            score += gain
        self.fallback[node], self.change[node] = after, score - len(path)

    def _step(self, node: int, token: int, ends_word: bool) -> tuple[int, float]:
        """The node after a token, and what it adds to the score."""
        if token in self.children[node]:
            return self.children[node][token], 1.0
        if node in (ROOT, INSIDE):
            return self.outside if token != self.space else ROOT, 0.0
        if self.whole[node] and ends_word:
            return self._step(self.outside, token, ends_word)
        after, gain = self._step(self.fallback[node], token, ends_word)
        return after, gain + self.change[node]

    def _row(self, node: int) -> np.ndarray:
        row = np.where(self.boundary, self._step(node, OTHER, True)[1], self._step(node, OTHER, False)[1]).astype(np.float32)
        chain = [ROOT, node]  # the nodes whose children make a difference
        while chain[-1] not in (ROOT, INSIDE):
            chain.append(self.fallback[chain[-1]])
        for token in {token for other in chain for token in self.children[other]}:
            row[token] = self.step(node, token)[1]
        return row


def write(phrase: str, tokenizer: Tokenizer) -> list[int]:
    """The tokens of a phrase. Raises UserError, naming the letters, where the tokenizer cannot write it."""
    tokens = tokenizer.encode(phrase)
    if not tokens or UNK in tokens:
        letters = sorted({letter for letter in phrase if UNK in tokenizer.encode(letter)} - {" "})
        what = f"the letters {' '.join(letters)}" if letters else "it"
        raise UserError(f"hot word `{phrase}`: the tokenizer cannot write {what}; correct the phrase, or take it out")
    return tokens


def _within(tokens: Sequence[int], tokenizer: Tokenizer) -> list[int]:
    """The tokens of a phrase after others, in a language without spaces: sentencepiece begins every text with one."""
    first = tokenizer.tokens[tokens[0]].removeprefix(SPACE)
    pieces = [first] if first in tokenizer.ids else first
    return [*(tokenizer.ids.get(piece, UNK) for piece in pieces), *tokens[1:]]


@dataclass(frozen=True)
class NextNodes:
    """The nodes after a node."""

    hotwords: HotWords
    node: int

    def __getitem__(self, token: int) -> int:
        return self.hotwords.step(self.node, token)[0]
