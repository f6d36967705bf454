"""The RNN-T loss equals the sum over all alignments and torchaudio's, with gradients, for any padding and size of blocks."""

from __future__ import annotations

import itertools

import pytest
import torch
from torchaudio.functional import rnnt_loss as torchaudio_loss

from m2asr.objectives import rnnt
from m2asr.objectives.rnnt import rnnt_loss

VOCAB, CHANNELS = 5, 6
FRAMES, TOKENS = [4, 3, 1], [3, 0, 2]


def inputs(frames=4, tokens=3, dtype=torch.float64, batch=3):
    """Projections, weight, bias and targets."""
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, frames, CHANNELS), (batch, tokens + 1, CHANNELS), (VOCAB, CHANNELS), (VOCAB,)
    leaves = [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]
    return leaves, torch.randint(1, VOCAB, (batch, tokens), generator=generator)


def joint(encoded, predicted, weight, bias):
    return (encoded[:, :, None] + predicted[:, None]).tanh() @ weight.T + bias  # (B, T, U + 1, V)


def brute_force(leaves, targets, frames, tokens):
    """-log of the summed probabilities of all alignments: the orders of `frames` blanks and the tokens that end with a blank."""
    log_probs, losses = joint(*leaves).log_softmax(-1), []
    for row, (size, length) in enumerate(zip(frames, tokens, strict=True)):
        losses.append(-torch.stack(list(_paths(log_probs[row], targets[row], size, length))).logsumexp(0))
    return torch.stack(losses)


def _paths(log_probs, target, size, length):
    """The log-probability of every alignment of one utterance, from log_probs (T, U + 1, V)."""
    for orders in itertools.combinations(range(size - 1 + length), length):
        t, u, total = 0, 0, 0.0
        for position in range(size + length):
            if position in orders:
                total, u = total + log_probs[t, u, target[u]], u + 1
            else:
                total, t = total + log_probs[t, u, 0], t + 1
        assert (t, u) == (size, length)
        yield total


def gradients(losses, leaves, scale=(1.0, 0.5, -2.0)):
    return torch.autograd.grad((losses * torch.tensor(scale[: len(losses)], dtype=losses.dtype)).sum(), leaves)


def assert_close(first, second, **tolerance):
    for gradient, other in zip(first, second, strict=True):
        torch.testing.assert_close(gradient, other, **tolerance)


@pytest.mark.parametrize("elements", [None, 1, 7 * VOCAB])
def test_equals_the_sum_over_all_alignments(elements):
    leaves, targets = inputs()
    losses, expected = rnnt_loss(*leaves, targets, FRAMES, TOKENS, elements), brute_force(leaves, targets, FRAMES, TOKENS)
    torch.testing.assert_close(losses, expected, rtol=1e-12, atol=1e-12)
    assert_close(gradients(losses, leaves), gradients(expected, leaves), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("frames", "tokens"), [([1], [0]), ([1], [3]), ([4], [0]), ([4, 2, 3], [3, 3, 1])])
def test_short_and_long_texts(frames, tokens):
    leaves, targets = inputs(max(frames), max(tokens), batch=len(frames))
    losses, expected = rnnt_loss(*leaves, targets, frames, tokens), brute_force(leaves, targets, frames, tokens)
    torch.testing.assert_close(losses, expected, rtol=1e-12, atol=1e-12)
    assert_close(gradients(losses, leaves), gradients(expected, leaves), rtol=1e-10, atol=1e-12)


def test_equals_torchaudio():
    leaves, targets = inputs(40, 12, torch.float32)
    frames, tokens = [40, 17, 1], [12, 0, 5]
    losses = rnnt_loss(*leaves, targets, frames, tokens)
    sizes = [torch.tensor(lengths, dtype=torch.int32) for lengths in (frames, tokens)]
    expected = torchaudio_loss(joint(*leaves), targets.int(), *sizes, blank=0, reduction="none")
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-5)
    assert_close(gradients(losses, leaves), gradients(expected, leaves), rtol=1e-3, atol=1e-4)


def test_padding_changes_nothing():
    leaves, targets = inputs()
    padded = [torch.cat([leaf, torch.full_like(leaf[:, :2], 9.0)], dim=1).detach().requires_grad_() for leaf in leaves[:2]] + leaves[2:]
    wide = torch.cat([targets, torch.ones_like(targets)], dim=1)[:, : targets.shape[1] + 2]
    losses, expected = rnnt_loss(*padded, wide, FRAMES, TOKENS), rnnt_loss(*leaves, targets, FRAMES, TOKENS)
    torch.testing.assert_close(losses, expected, rtol=1e-13, atol=1e-13)
    of_padded, of_plain = gradients(losses, padded), gradients(expected, leaves)
    for row, (size, length) in enumerate(zip(FRAMES, TOKENS, strict=True)):
        assert not of_padded[0][row, size:].any() and not of_padded[1][row, length + 1 :].any()
    assert_close([of_padded[0][:, :4], of_padded[1][:, :4], *of_padded[2:]], of_plain, rtol=1e-12, atol=1e-13)


def test_utterances_do_not_see_each_other():
    leaves, targets = inputs()
    together = rnnt_loss(*leaves, targets, FRAMES, TOKENS)
    for row in range(3):
        rows = slice(row, row + 1)
        alone = rnnt_loss(leaves[0][rows], leaves[1][rows], *leaves[2:], targets[rows], FRAMES[rows], TOKENS[rows])
        torch.testing.assert_close(together[row], alone[0], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-14)])
def test_cells_without_probability_are_left_out_below_rounding(dtype, tolerance, monkeypatch):
    """Less than half of all cells are computed again, and no gradient changes by more than the rounding of the type."""
    leaves, targets = inputs(300, 60, torch.float64, batch=1)
    leaves = [leaf.detach().to(dtype).requires_grad_() for leaf in leaves]
    choose, used = rnnt._with_gradient, []
    monkeypatch.setattr(rnnt, "_with_gradient", lambda *args: used.append(choose(*args)) or used[-1])
    of_band = gradients(rnnt_loss(*leaves, targets, [300], [60]), leaves)
    assert 0 < len(used[0]) < 300 * 61 / (1 if dtype == torch.float64 else 2)
    monkeypatch.setattr(rnnt, "_with_gradient", lambda _lattice, cells, _dtype: cells)
    for banded, complete in zip(of_band, gradients(rnnt_loss(*leaves, targets, [300], [60]), leaves), strict=True):
        assert (banded - complete).abs().max() <= tolerance * complete.abs().max()


@pytest.mark.parametrize("elements", [None, 1, 3 * (VOCAB + CHANNELS)])
def test_alignments_keep_to_the_cells_that_are_given(elements):
    """Equal to the enumeration of alignments where all other cells are impossible."""
    leaves, targets = inputs()
    inside = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]]).bool().expand(3, -1, -1)
    within = torch.zeros(3 * 4 * 4, dtype=torch.bool)
    within[rnnt.all_cells(FRAMES, TOKENS, 4, 4)] = True
    cells = (within & inside.flatten()).nonzero().squeeze(1)
    frames, tokens = [4, 3, 1], [3, 0, 1]
    log_probs = joint(*leaves).log_softmax(-1).masked_fill(~inside[..., None], float("-inf"))
    paths = torch.stack([path for path in _paths(log_probs[0], targets[0], 4, 3) if path > float("-inf")])
    losses = rnnt_loss(*leaves, targets, frames, tokens, elements, cells)
    torch.testing.assert_close(losses[0], -paths.logsumexp(0), rtol=1e-12, atol=1e-12)
    assert 1 < len(paths) < 20
    assert_close(gradients(losses[:1], leaves), gradients(-paths.logsumexp(0)[None], leaves), rtol=1e-10, atol=1e-12)


def test_in_bfloat16_losses_and_sums_are_float32():
    leaves, targets = inputs(30, 8, torch.float32)
    frames, tokens = [30, 12, 5], [8, 0, 3]
    short = [leaf.detach().to(torch.bfloat16).requires_grad_() for leaf in leaves[:2]] + leaves[2:]
    losses, expected = rnnt_loss(*short, targets, frames, tokens), rnnt_loss(*leaves, targets, frames, tokens)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses, expected, rtol=0.02, atol=0.02)
    of_short = gradients(losses, short)
    assert [gradient.dtype for gradient in of_short] == [leaf.dtype for leaf in short]
    for half, full in zip(of_short, gradients(expected, leaves), strict=True):
        assert (half - full).norm() <= 0.03 * full.norm()


def test_without_gradients_the_loss_is_the_same():
    leaves, targets = inputs()
    losses = rnnt_loss(*leaves, targets, FRAMES, TOKENS)
    with torch.no_grad():
        torch.testing.assert_close(rnnt_loss(*leaves, targets, FRAMES, TOKENS), losses.detach(), rtol=0, atol=0)


@pytest.mark.parametrize(("frames", "tokens"), [([0, 1, 1], [0, 0, 0]), ([5, 1, 1], [0, 0, 0]), ([4, 1, 1], [4, 0, 0])])
def test_lengths_that_do_not_fit_are_refused(frames, tokens):
    leaves, targets = inputs()
    with pytest.raises(ValueError, match="do not fit 4 states and 3 tokens"):
        rnnt_loss(*leaves, targets, frames, tokens)
