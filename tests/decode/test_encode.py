"""What searches read: whole utterances, without masks or dropout, at the taps of all heads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from m2asr.decode.encode import encode, encode_batch
from tests.objectives import build

CTC = {"type": "ctc", "stream": "x", "tokens": "a"}
OBJECTIVES = {
    "early": {**CTC, "tap": "block1"},
    "masked": {**CTC, "view": {"mask": {"probability": 0.5, "length": 2}}},
    "cpc": {"type": "cpc", "stream": "x", "context": 0.4, "future": 0.3, "tap": "frontend"},
}


@pytest.fixture
def system():
    """A system that is being trained, with dropout and augmentation."""
    model = build.config().model.model_dump()
    model["encoder"]["dropout"], model["specaugment"] = 0.3, {"time_width": 20}
    return build.system(model=model, objectives=OBJECTIVES).train()


def test_states_are_those_of_whole_utterances_at_the_taps_of_heads(system):
    batch = build.batch([120, 90], {})
    encoded = encode_batch(system, batch)
    assert set(encoded.states) == {"block1", "output"} and encoded.mask is None
    assert not any(state.requires_grad for state in encoded.states.values())
    system.eval()
    for tap, state in encoded.states.items():
        assert torch.equal(state, build.encode(system, batch, taps=[tap]).states[tap])


def test_features_are_encoded_as_the_batch_that_they_make(system):
    batch = build.batch([120, 90], {})
    feats = [batch.inputs["feats"][row, :length].numpy() for row, length in enumerate([120, 90])]
    expected, encoded = encode_batch(system, batch), encode(system, feats, batch.lang)
    assert encoded.lengths.tolist() == expected.lengths.tolist() == [29, 21]
    assert all(torch.equal(state, expected.states[tap]) for tap, state in encoded.states.items())
    assert encode(system, [np.zeros((3, 8))], [""]).lengths.tolist() == [0]
