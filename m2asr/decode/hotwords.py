"""Words and phrases that a search prefers, as a scorer of prefixes (contextual biasing)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from m2asr.errors import UserError
from m2asr.text.tokenizer import SPACE, UNK, Tokenizer

ROOT, INSIDE = 0, 1  # nodes without a phrase: before a word, and within a word that is in no phrase
OTHER = -1  # stands for all tokens that continue no phrase


class HotWords:
    """Scores 1 for every token of a phrase as it is written, and takes the score back when the text leaves the phrase before its end.

    Phrases begin and end at word boundaries, or anywhere if `spaced` is false. In a finished text those phrases count that are found from
    left to right, at each word the longest. A state is a node of the tree of all phrases. The node after a broken match is computed
    beforehand, as in the automaton of Aho and Corasick (1975). Raises UserError for a phrase that the tokenizer cannot write.
    """

    most_gain = 1.0
    start = ROOT

    def __init__(self, phrases: Sequence[str], tokenizer: Tokenizer, spaced: bool = True) -> None:
        self.vocab = tokenizer.size
        starts = np.array([tokenizer.piece(token).startswith(SPACE) for token in range(self.vocab)])
        spaced = (spaced or tokenizer.kind == "words") and bool(starts.any())
        self.boundary = starts if spaced else np.ones(self.vocab, bool)  # (V,) tokens before which a word has ended
        self.boundary[-1] = True  # the end of the text
        self.separate_spaces = spaced and tokenizer.kind == "char"  # spaces are separate tokens: a word begins after one, not with one
        self.outside = INSIDE if self.separate_spaces else ROOT  # after a token that is in no phrase
        self.space = tokenizer.ids.get(SPACE, OTHER)
        self.children: list[dict[int, int]] = [{}, {}]
        self.paths: list[tuple[int, ...]] = [(), ()]
        self.ends_phrase = [False, False]  # whether a phrase ends at the node
        for phrase in phrases:
            tokens = phrase_tokens(phrase, tokenizer)
            self._add(tokens)
            if not spaced and tokenizer.tokens[tokens[0]].startswith(SPACE):
                self._add(_within(tokens, tokenizer))
        self.fallback = [ROOT] * len(self.paths)  # the node where a match that breaks at a node continues ...
        self.score_change = [0.0] * len(self.paths)  # ... and the change of the score
        for node in sorted(range(len(self.paths)), key=lambda node: len(self.paths[node]))[2:]:
            self._set_fallback(node)

    def expand(self, states: Sequence[int]) -> tuple[np.ndarray, list[NextNodes]]:
        """The scores (N, V) of every token after N states; the last token, the end, takes back the score of an unfinished phrase."""
        return np.stack([self._row(state) for state in states]), [NextNodes(self, state) for state in states]

    def step(self, node: int, token: int) -> tuple[int, float]:
        """The node after a token, and the score of the token."""
        return self._step(node, token, bool(self.boundary[token]))

    def _add(self, tokens: Sequence[int]) -> None:
        node = ROOT
        for size, token in enumerate(tokens, 1):
            if token not in self.children[node]:
                self.children[node][token] = len(self.paths)
                self.children.append({})
                self.paths.append(tuple(tokens[:size]))
                self.ends_phrase.append(False)
            node = self.children[node][token]
        self.ends_phrase[node] = node != ROOT

    def _set_fallback(self, node: int) -> None:
        """Compute the node where a match that breaks at `node` continues, and the change of its score.

        The match keeps the longest phrase that ended in it, or drops its first token; the tokens after that are read again.
        """
        path, phrase_size, before = self.paths[node], 0, ROOT
        for size, token in enumerate(path):
            if self.ends_phrase[before] and self.boundary[token]:
                phrase_size = size
            before = self.children[before][token]
        after, score = self.outside, float(phrase_size)
        for token in path[max(phrase_size, 1) :]:
            after, gain = self.step(after, token)
            score += gain
        self.fallback[node], self.score_change[node] = after, score - len(path)

    def _step(self, node: int, token: int, ends_word: bool) -> tuple[int, float]:
        """The same as `step`; `ends_word` says whether the token ends the word before it."""
        if token in self.children[node]:
            return self.children[node][token], 1.0
        if node in (ROOT, INSIDE):
            return self.outside if token != self.space else ROOT, 0.0
        if self.ends_phrase[node] and ends_word:
            return self._step(self.outside, token, ends_word)
        after, gain = self._step(self.fallback[node], token, ends_word)
        return after, gain + self.score_change[node]

    def _row(self, node: int) -> np.ndarray:
        row = np.where(self.boundary, self._step(node, OTHER, True)[1], self._step(node, OTHER, False)[1]).astype(np.float32)
        chain = [ROOT, node]  # the nodes whose children differ from other tokens
        while chain[-1] not in (ROOT, INSIDE):
            chain.append(self.fallback[chain[-1]])
        for token in {token for member in chain for token in self.children[member]}:
            row[token] = self.step(node, token)[1]
        return row


def phrase_tokens(phrase: str, tokenizer: Tokenizer) -> list[int]:
    """The tokens of a phrase. Raises UserError, which names the letters, if the tokenizer cannot write the phrase."""
    tokens = tokenizer.encode(phrase)
    if not tokens or UNK in tokens:
        kind, units = ("words", phrase.split()) if tokenizer.kind == "words" else ("letters", phrase)
        unknown = sorted({unit for unit in units if UNK in tokenizer.encode(unit)} - {" "})
        unwritable = f"the {kind} {' '.join(unknown)}" if unknown else "it"
        raise UserError(f"hot word `{phrase}`: the tokenizer cannot write {unwritable}; correct the phrase, or remove it")
    return tokens


def _within(tokens: Sequence[int], tokenizer: Tokenizer) -> list[int]:
    """The tokens of a phrase inside a text without spaces: without the space that sentencepiece puts before every text."""
    first = tokenizer.tokens[tokens[0]].removeprefix(SPACE)
    pieces = [first] if first in tokenizer.ids else first
    return [*(tokenizer.ids.get(piece, UNK) for piece in pieces), *tokens[1:]]


@dataclass(frozen=True)
class NextNodes:
    """Looks up the nodes that follow a node."""

    hotwords: HotWords
    node: int

    def __getitem__(self, token: int) -> int:
        return self.hotwords.step(self.node, token)[0]
