"""The tree of texts gives back every text; of the complete ones the best stay, in order."""

from __future__ import annotations

import random

import torch

from m2asr.decode.text_tree import NEVER, BestTexts, TextTree

CPU = torch.device("cpu")


def test_every_text_is_found_again():
    tree, texts, generator = TextTree(CPU), [[]], random.Random(0)
    for _ in range(20):
        parents = [generator.randrange(len(texts)) for _ in range(generator.randrange(4))]
        tokens = [generator.randrange(1, 9) for _ in parents]
        nodes = tree.add(torch.tensor(parents, dtype=torch.long), torch.tensor(tokens, dtype=torch.long))
        assert nodes.tolist() == list(range(len(texts), len(texts) + len(parents)))
        texts += [[*texts[parent], token] for parent, token in zip(parents, tokens, strict=True)]
    assert tree.texts(torch.arange(tree.size)) == texts and tree.size == len(texts)


def test_the_best_of_all_that_were_added_stay():
    tree, best = TextTree(CPU), BestTexts(3, 2, CPU)
    nodes = tree.add(torch.zeros(4, dtype=torch.long), torch.tensor([5, 6, 7, 8])).view(2, 2)
    assert best.empty and best.hypotheses(tree) == [[], [], []]
    scores = torch.tensor([[-2.0, NEVER], [-3.0, -1.0]], dtype=torch.float64)
    best.add(torch.tensor([0, 2]), scores, scores / 4, nodes)
    best.add(torch.tensor([2]), torch.tensor([[-2.0, -9.0]], dtype=torch.float64), torch.zeros(1, 2), torch.tensor([[0, 1]]))
    found = [[(hypothesis.tokens, hypothesis.score, hypothesis.text_score) for hypothesis in some] for some in best.hypotheses(tree)]
    assert not best.empty and found == [[([5], -2.0, -0.5)], [], [([8], -1.0, -0.25), ([], -2.0, 0.0)]]
