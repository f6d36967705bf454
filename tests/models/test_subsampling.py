"""Front ends of one geometry: which frames a state sees, and how many states there are."""

from __future__ import annotations

import pytest
import torch

from m2asr.errors import UserError
from m2asr.models.conformer import Conformer
from m2asr.models.layers import round_length
from m2asr.models.subsampling import Subsampling, front_end

KINDS = ["conv2d", "dwconv", "windows"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frames", [1, 6, 7, 8, 10, 11, 12, 30, 31, 64])
def test_there_are_as_many_states_as_lengths_tell(kind: str, frames: int) -> None:
    front = front_end(kind, feat_dim=16, dim=8)
    states = front.output_lengths(frames)
    assert front(torch.randn(2, frames, 16)).shape == (2, max(1, states), 8)
    assert states == max(0, ((frames - 1) // 2 - 1) // 2), "two convolutions of width 3 and stride 2"


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_sees_seven_frames_four_after_the_state_before(kind: str) -> None:
    torch.manual_seed(0)
    front = front_end(kind, feat_dim=16, dim=8).double()
    feats = torch.randn(1, 31, 16, dtype=torch.float64, requires_grad=True)
    states = front(feats)[0]
    for index, state in enumerate(states):
        (gradient,) = torch.autograd.grad(state.square().sum(), feats, retain_graph=True)
        seen_frames = torch.nonzero(gradient[0].abs().sum(1)).flatten().tolist()
        assert seen_frames and set(seen_frames) <= set(range(4 * index, 4 * index + 7)), index
        assert seen_frames[0] == 4 * index and seen_frames[-1] == 4 * index + 6


def test_frames_for_is_the_fewest() -> None:
    for states in range(1, 20):
        frames = Subsampling.frames_for(states)
        assert Subsampling.output_lengths(torch.tensor([frames, frames - 1])).tolist() == [states, states - 1]


@pytest.mark.parametrize("frames", [1, 7, 19, 20, 99, 100, 131, 132])
def test_batches_are_padded_to_few_numbers_of_states(frames: int) -> None:
    encoder = Conformer(16, blocks=1, dim=8, heads=2, kernel=3, subsampling="windows")
    feats = torch.randn(2, frames, 16)
    padded = encoder.pad(feats)
    states, before = (encoder.output_lengths(rows.shape[1]) for rows in (padded, feats))
    assert torch.equal(padded[:, :frames], feats) and not padded[:, frames:].any()
    assert states == round_length(before)


@pytest.mark.parametrize("kind", ["conv2d", "dwconv"])
def test_features_that_are_too_narrow_for_convolutions_are_told(kind: str) -> None:
    assert front_end(kind, 7, 8)(torch.randn(1, 7, 7)).shape == (1, 1, 8)
    with pytest.raises(UserError, match="convolutions need 7 features per frame or more, these have 6; set `subsampling: windows`"):
        front_end(kind, 6, 8)
