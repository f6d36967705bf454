"""Seeds by purpose: torch's random numbers follow from the keys alone."""

from __future__ import annotations

import pytest
import torch

from m2asr.seeds import seed_of, seed_torch


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_torch_is_seeded_as_by_manual_seed(device: str) -> None:
    if not getattr(torch, device).is_available():
        pytest.skip("needs a GPU")
    torch.zeros((), device=device)  # the device is in use
    torch.manual_seed(seed_of(3, "en", "dropout"))
    expected = torch.rand(5, device=device)
    seed_torch(3, "en", "dropout")
    assert torch.equal(torch.rand(5, device=device), expected)
    seed_torch(3, "en", "other")
    assert not torch.equal(torch.rand(5, device=device), expected)
