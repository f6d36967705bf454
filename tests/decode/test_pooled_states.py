"""Averages of neighbouring states, and what identifies the run that they are of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from m2asr.decode.encode import encode
from m2asr.decode.pooled_states import PooledStates, pool_states, weights_digest
from m2asr.decode.trained import open_features
from m2asr.errors import UserError


@pytest.mark.parametrize("pool", [1, 2, 3])
def test_means_are_over_the_valid_states_of_each_group(pool: int) -> None:
    states, lengths = torch.randn(5, 7, 4, dtype=torch.float64), torch.tensor([7, 4, 3, 1, 0])
    pooled, counts = pool_states(states.clone().index_fill_(1, torch.tensor([6]), 9.0), lengths, pool)
    states[:, 6] = 9.0
    for row, length in enumerate(lengths.tolist()):
        expected = [states[row, start : min(start + pool, length)].mean(0) for start in range(0, length, pool)]
        assert int(counts[row]) == len(expected) == -(-length // pool)
        assert all(torch.allclose(pooled[row, n], mean) for n, mean in enumerate(expected))
    assert pooled.isfinite().all()


def test_the_states_of_a_run_at_a_tap(untrained) -> None:
    """As the encoder gives them; an utterance has the same ones in every batch."""
    reader = PooledStates(untrained.exp, "block1", 2)
    index, feats, _ = open_features(untrained.data / "dev_en", untrained.dump, untrained.exp, False)
    batch = [feats(index, i, np.random.default_rng(0)) for i in range(3)] + [np.zeros((3, 80), dtype=np.float32)]
    together = reader(batch, ["en"] * 4)
    assert len(together[3]) == 0  # too short for a state
    for rows, states in zip(batch[:3], together, strict=False):
        alone = encode(reader.system, [rows], ["en"], ["block1"])
        expected, _ = pool_states(alone.states["block1"], alone.lengths, 2)
        assert len(states) == -(-int(alone.lengths) // 2)
        assert torch.allclose(states, expected[0, : len(states)], atol=1e-4)
    assert reader.seconds == pytest.approx(0.08)
    assert reader.middles(2).tolist() == pytest.approx([0.0225 + 0.04, 0.0225 + 0.12])  # of states 0 and 1, and of states 2 and 3


def test_a_tap_that_does_not_exist(untrained) -> None:
    with pytest.raises(UserError, match="--tap: `block9` does not exist; did you mean `block1`"):
        PooledStates(untrained.exp, "block9", 2)


def test_every_weight_identifies_a_run() -> None:
    weights = {"a": torch.ones(2, 3), "b": torch.tensor(1.0), "c": torch.ones(2, dtype=torch.bfloat16)}
    digest = weights_digest(weights)
    assert digest == weights_digest(dict(reversed(weights.items())))
    for name in weights:
        changed = {key: value.clone() for key, value in weights.items()}
        changed[name] += 0.5
        assert weights_digest(changed) != digest
    assert weights_digest({"x" if name == "a" else name: value for name, value in weights.items()}) != digest
