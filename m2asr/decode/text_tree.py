"""The texts of a beam search as a tree, and the best complete ones of every utterance."""

from __future__ import annotations

import torch
from torch import Tensor

from m2asr.decode.hypothesis import Hypothesis

NEVER = float("-inf")


class TextTree:
    """Texts that share their beginnings. Node 0 is the empty text; every other node adds a token to the text of its parent."""

    def __init__(self, device: torch.device) -> None:
        self.size = 1
        self._parents = [torch.zeros(1, dtype=torch.long, device=device)]
        self._tokens = [torch.zeros(1, dtype=torch.long, device=device)]

    def add(self, parents: Tensor, tokens: Tensor) -> Tensor:
        """The new nodes (M,) that add tokens (M,) to the texts of the nodes `parents` (M,)."""
        nodes = torch.arange(self.size, self.size + len(tokens), device=tokens.device)
        self._parents.append(parents)
        self._tokens.append(tokens)
        self.size += len(tokens)
        return nodes

    def texts(self, nodes: Tensor) -> list[list[int]]:
        """The texts of nodes (M,)."""
        parents, tokens = torch.cat(self._parents).tolist(), torch.cat(self._tokens).tolist()
        texts = []
        for node in nodes.tolist():
            backwards = []
            while node > 0:
                backwards.append(tokens[node])
                node = parents[node]
            texts.append(backwards[::-1])
        return texts


class BestTexts:
    """The `beam` best complete texts of each of B utterances; all tensors are (B, W), with scores that fall."""

    def __init__(self, batch: int, beam: int, device: torch.device) -> None:
        self.scores = torch.full((batch, beam), NEVER, dtype=torch.float64, device=device)
        self.text_scores = torch.zeros_like(self.scores)
        self.nodes = torch.zeros(batch, beam, dtype=torch.long, device=device)
        self.empty = True  # whether no utterance has a complete text

    def add(self, rows: Tensor, scores: Tensor, text_scores: Tensor, nodes: Tensor) -> None:
        """Add texts (R, W) of the utterances `rows` (R,); where the score is -inf there is none."""
        self.empty = False
        self.scores[rows], best = torch.cat([self.scores[rows], scores], dim=1).topk(self.scores.shape[1], dim=1)
        self.text_scores[rows] = torch.cat([self.text_scores[rows], text_scores], dim=1).gather(1, best)
        self.nodes[rows] = torch.cat([self.nodes[rows], nodes], dim=1).gather(1, best)

    def hypotheses(self, tree: TextTree) -> list[list[Hypothesis]]:
        """The texts of every utterance, the best first."""
        texts = iter(tree.texts(self.nodes.flatten()))
        results = []
        for utterance in zip(self.scores.tolist(), self.text_scores.tolist(), strict=True):
            hypotheses = [Hypothesis(next(texts), score, text_score) for score, text_score in zip(*utterance, strict=True)]
            results.append([hypothesis for hypothesis in hypotheses if hypothesis.score > NEVER])
        return results
