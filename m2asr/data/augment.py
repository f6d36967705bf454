"""SpecAugment on padded batches."""

from __future__ import annotations

import torch
from torch import Tensor

from m2asr.model_config import SpecAugment


def spec_augment(feats: Tensor, lengths: Tensor, config: SpecAugment, generator: torch.Generator) -> Tensor:
    """Set random spans of channels and of time to 0, the mean of normalized features (Park et al. 2019, without time warping).

    feats (B, T, F), lengths (B,) -> (B, T, F). Widths are uniform from 0 to the configured ones, a time mask covers at most
    `time_share` of its utterance and lies inside it. The random numbers depend on the generator and B only, so padding does not
    change the masks. They are drawn on the generator's device, so a CPU generator gives the same masks on every device.
    """
    batch, frames, channels = feats.shape
    time_widths = (lengths * config.time_share).clamp(max=config.time_width)
    freq_widths = torch.full_like(time_widths, min(config.freq_width, channels))
    masked = _spans(lengths, time_widths, config.time_masks, frames, generator).unsqueeze(2)  # (B, T, 1)
    masked = masked | _spans(torch.full_like(lengths, channels), freq_widths, config.freq_masks, channels, generator).unsqueeze(1)
    return feats.masked_fill(masked, 0.0)


def _spans(sizes: Tensor, widths: Tensor, count: int, length: int, generator: torch.Generator) -> Tensor:
    """The union of `count` random spans inside [0, sizes), each 0 to widths wide: sizes (B,), widths (B,) -> (B, length) bool."""
    samples = torch.rand(2, len(sizes), count, generator=generator, device=generator.device, dtype=torch.float64)  # (2, B, count)
    samples = samples.to(sizes.device)
    width = (samples[0] * (widths.floor() + 1).unsqueeze(1)).floor()  # (B, count)
    start = (samples[1] * (sizes.unsqueeze(1) - width + 1)).floor()
    position = torch.arange(length, device=sizes.device)  # (length,)
    inside = (position >= start.unsqueeze(2)) & (position < (start + width).unsqueeze(2))  # (B, count, length)
    return inside.any(1)
