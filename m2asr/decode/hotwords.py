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

    Phrases begin and end where words do, or anywhere where `spaced` is false. A state is a node of the tree of the phrases; what follows
    a broken match is found as in the automaton of Aho and Corasick (1975). Raises UserError for a phrase that the tokenizer cannot write.
    """

    most_gain = 1.0
    start = ROOT

    def __init__(self, phrases: Sequence[str], tokenizer: Tokenizer, spaced: bool = True) -> None:
        self.vocab = tokenizer.size
        starts = np.array([piece.startswith(SPACE) for piece in tokenizer.tokens])
        self.boundary = starts if spaced else np.ones(self.vocab, bool)  # (V,) tokens before which a word has ended
        self.boundary[-1] = True  # the end of the text
        self.apart = spaced and tokenizer.kind == "char"  # spaces are tokens of their own: a word begins after one, not with one
        self.space = tokenizer.ids.get(SPACE, OTHER)
        self.children: list[dict[int, int]] = [{}, {}]
        self.paths: list[tuple[int, ...]] = [(), ()]
        self.whole = [False, False]  # whether a phrase ends at the node
        for phrase in phrases:
            self._add(phrase, tokenizer)
        self.nodes = {path: node for node, path in enumerate(self.paths) if node != INSIDE}
        self.kept = [self._kept(path) for path in self.paths]  # tokens of the last phrase that ended before the node
        self.fallback = [self._suffix(node) for node in range(len(self.paths))]

    def expand(self, states: Sequence[int]) -> tuple[np.ndarray, list[NextNodes]]:
        """What every token adds (N, V) after N states; the last one, the end, takes back what did not become a phrase."""
        return np.stack([self._row(state) for state in states]), [NextNodes(self, state) for state in states]

    def step(self, node: int, token: int) -> tuple[int, float]:
        """The node after a token, and what the token adds to the score."""
        return self._step(node, token, bool(self.boundary[token]))

    def _add(self, phrase: str, tokenizer: Tokenizer) -> None:
        tokens = tokenizer.encode(phrase)
        if not tokens or UNK in tokens:
            letters = sorted({letter for letter in phrase if UNK in tokenizer.encode(letter)} - {" "})
            what = f"the letters {' '.join(letters)}" if letters else "it"
            raise UserError(f"hot word `{phrase}`: the tokenizer cannot write {what}; correct the phrase, or take it out")
        node = ROOT
        for number, token in enumerate(tokens, 1):
            if token not in self.children[node]:
                self.children[node][token] = len(self.paths)
                self.children.append({})
                self.paths.append(tuple(tokens[:number]))
                self.whole.append(False)
            node = self.children[node][token]
        self.whole[node] = True

    def _kept(self, path: tuple[int, ...]) -> int:
        sizes = range(len(path) - 1, 0, -1)
        return next((size for size in sizes if self.whole[self.nodes[path[:size]]] and self.boundary[path[size]]), 0)

    def _suffix(self, node: int) -> int:
        """The longest end of a path with which a phrase may begin, after what is kept; ROOT or INSIDE where there is none."""
        path = self.paths[node]
        for first in range(max(self.kept[node], 1), len(path)):
            if path[first:] in self.nodes and (not self.apart or path[first - 1] == self.space):
                return self.nodes[path[first:]]
        return INSIDE if self.apart and path and path[-1] != self.space else ROOT

    def _step(self, node: int, token: int, ends_word: bool) -> tuple[int, float]:
        """The node after a token, and what it adds to the score."""
        if token in self.children[node]:
            return self.children[node][token], 1.0
        depth = len(self.paths[node])
        if not depth:
            return INSIDE if self.apart and token != self.space else ROOT, 0.0
        if self.whole[node] and ends_word:
            return self._step(INSIDE if self.apart else ROOT, token, ends_word)
        fallback = self.fallback[node]
        after, gain = self._step(fallback, token, ends_word)
        return after, gain + self.kept[node] + len(self.paths[fallback]) - depth

    def _row(self, node: int) -> np.ndarray:
        row = np.where(self.boundary, self._step(node, OTHER, True)[1], self._step(node, OTHER, False)[1]).astype(np.float32)
        chain = [ROOT, node]  # the nodes whose children make a difference
        while chain[-1] not in (ROOT, INSIDE):
            chain.append(self.fallback[chain[-1]])
        for token in {token for other in chain for token in self.children[other]}:
            row[token] = self.step(node, token)[1]
        return row


@dataclass(frozen=True)
class NextNodes:
    """The nodes after a node."""

    hotwords: HotWords
    node: int

    def __getitem__(self, token: int) -> int:
        return self.hotwords.step(self.node, token)[0]
