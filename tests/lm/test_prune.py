from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from m2asr.lm.build import estimate_model
from m2asr.lm.ngram import NgramModel
from m2asr.lm.prune import prune
from m2asr.lm.sources import Sources
from m2asr.lm.table import Table


@pytest.fixture
def table(mini_data: Path, tmp_path: Path) -> Table:
    return estimate_model(Sources([mini_data / "train_en"]), 3, [0, 0, 0], 0.0, tmp_path).table


def sizes(table: Table) -> list[int]:
    return [len(order) for order in table.orders]


def uniform(table: Table) -> list[np.ndarray]:
    return [np.full(len(order), 1e-3) for order in table.orders]


def test_probabilities_sum_to_1_and_a_higher_threshold_leaves_less(table: Table) -> None:
    last = sizes(table)
    for threshold in (1e-5, 1e-4, 1e-3):
        pruned = prune(table, uniform(table), threshold)
        assert sizes(pruned)[0] == last[0] and sum(sizes(pruned)) < sum(last)
        last = sizes(pruned)
        model, rng = NgramModel.from_table(pruned), random.Random(1)
        states = torch.tensor(rng.sample(range(len(model.suffixes)), min(200, len(model.suffixes))))
        probs = model.rows(states).double().exp()
        probs[:, model.bos] = 0
        torch.testing.assert_close(probs.sum(1), torch.ones(len(states), dtype=torch.double), rtol=0, atol=5e-6)
    assert len(last) == 3 or last[1] < 100


def test_an_ngram_goes_where_the_divergence_without_it_is_small(table: Table) -> None:
    """The loss of single trigrams equals the Kullback-Leibler divergence between the distributions with and without them."""
    model, order = NgramModel.from_table(table), table.orders[2]
    rows = random.Random(2).sample(range(len(order)), 30)
    ngrams = table.ngrams(3, np.array(rows))
    losses = []
    for (first, second, word), row in zip(ngrams, rows, strict=True):
        start = torch.tensor([model.start if first == model.bos else int(model.next_states[first])])
        full = model.rows(model.next(start, torch.tensor([second])))[0].double().exp()
        lower = model.rows(torch.tensor([model.next_states[second]]))[0].double().exp()
        full[model.bos] = lower[model.bos] = 0
        listed = order.word[(order.context == order.context[row]) & (order.word != word)]
        without = lower * (1 - full[listed].sum()) / (1 - lower[listed].sum())
        without[listed] = full[listed]
        occurs = full > 0
        losses.append(np.expm1(1e-3 * (full[occurs] * (full[occurs] / without[occurs]).log()).sum().item()))
    threshold = float(np.median(losses))
    pruned = prune(table, uniform(table), threshold)
    remaining = {tuple(ngram) for ngram in pruned.ngrams(3, slice(None)).tolist()} if len(pruned.orders) == 3 else set()
    assert [tuple(ngram) in remaining for ngram in ngrams.tolist()] == [loss >= threshold for loss in losses]
