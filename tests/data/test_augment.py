"""SpecAugment: masks lie inside every utterance, have the expected size, and do not depend on padding."""

from __future__ import annotations

import pytest
import torch

from m2asr.data.augment import spec_augment
from m2asr.model_config import SpecAugment


def masked(lengths: list[int], config: SpecAugment, frames: int = 400, seed: int = 0) -> torch.Tensor:
    feats = torch.ones(len(lengths), frames, 80)
    return spec_augment(feats, torch.tensor(lengths), config, torch.Generator().manual_seed(seed)) == 0  # (B, T, F)


def test_expected_share_of_time_and_channels() -> None:
    time = masked([400] * 2000, SpecAugment(freq_masks=0, time_masks=1, time_width=40, time_share=1.0))
    assert time[:, :, 0].float().mean().item() == pytest.approx(20 / 400, rel=0.05)
    freq = masked([400] * 2000, SpecAugment(freq_masks=1, time_masks=0, freq_width=27), frames=2)
    assert freq[:, 0].float().mean().item() == pytest.approx(13.5 / 80, rel=0.05)


def test_every_place_is_masked_and_widths_reach_their_limit() -> None:
    time = masked([100] * 3000, SpecAugment(freq_masks=0, time_masks=1, time_width=10), frames=100)[:, :, 0]
    assert time.any(0).all()
    assert set(time.sum(1).tolist()) == set(range(11))


def test_masks_stay_inside_the_utterance_and_within_its_share() -> None:
    lengths = [400, 50, 10, 1]
    for seed in range(50):
        time = masked(lengths, SpecAugment(freq_masks=0, time_masks=2, time_width=40, time_share=0.2), seed=seed)[:, :, 0]
        for row, length in zip(time, lengths, strict=True):
            assert not row[length:].any()
            assert row.sum() <= 2 * min(40, 0.2 * length)


def test_padding_changes_nothing() -> None:
    config = SpecAugment()
    short, long = masked([200, 120], config, frames=200), masked([200, 120], config, frames=390)
    assert torch.equal(short, long[:, :200])


def test_utterances_get_their_own_masks_and_seeds_repeat() -> None:
    first = masked([400, 400], SpecAugment())
    assert not torch.equal(first[0], first[1])
    assert torch.equal(first, masked([400, 400], SpecAugment()))
    assert not torch.equal(first, masked([400, 400], SpecAugment(), seed=1))


def test_no_masks_is_the_identity() -> None:
    assert not masked([400], SpecAugment(freq_masks=0, time_masks=0)).any()
