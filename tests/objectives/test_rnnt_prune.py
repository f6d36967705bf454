"""The joiner that adds logits has the RNN-T loss of its logits, and the band that it chooses has alignments and holds most of them."""

from __future__ import annotations

import pytest
import torch
from torchaudio.functional import rnnt_loss as torchaudio_loss

from m2asr.objectives.rnnt import all_cells, rnnt_loss
from m2asr.objectives.rnnt_prune import pruned_cells, sum_loss
from tests.objectives.test_rnnt import CHANNELS, FRAMES, TOKENS, VOCAB, _paths, assert_close, gradients, inputs


def logits(frames=4, tokens=3, batch=3, scale=1.0):
    """Logits of states and of the predictor, and targets."""
    generator = torch.Generator().manual_seed(1)
    shapes = (batch, frames, VOCAB), (batch, tokens + 1, VOCAB)
    sides = [(scale * torch.randn(shape, generator=generator, dtype=torch.float64)).requires_grad_() for shape in shapes]
    return sides, torch.randint(1, VOCAB, (batch, tokens), generator=generator)


def test_the_loss_of_added_logits_is_that_of_all_alignments():
    sides, targets = logits()
    log_probs = (sides[0][:, :, None] + sides[1][:, None]).log_softmax(-1)  # (B, T, U + 1, V)
    sizes = zip(FRAMES, TOKENS, strict=True)
    expected = [-torch.stack(list(_paths(log_probs[row], targets[row], *pair))).logsumexp(0) for row, pair in enumerate(sizes)]
    expected = torch.stack(expected)
    losses, passed = sum_loss(*sides, targets, FRAMES, TOKENS)
    torch.testing.assert_close(losses, expected, rtol=1e-12, atol=1e-12)
    assert_close(gradients(losses, sides), gradients(expected, sides), rtol=1e-10, atol=1e-12)
    assert not passed.requires_grad
    inside = torch.zeros(passed.numel(), dtype=torch.bool)
    inside[all_cells(FRAMES, TOKENS, 4, 4)] = True
    assert not passed.flatten()[~inside].any()
    torch.testing.assert_close(passed[1, :3, 0], torch.ones(3, dtype=torch.float64))  # without tokens there is one alignment


@pytest.mark.parametrize("scale", [30.0, 100.0])
def test_logits_far_apart_keep_the_loss_exact(scale):
    """Also in float32, where a product of powers would be 0."""
    sides, targets = logits(20, 6, scale=scale)
    sides = [side.detach().float().requires_grad_() for side in sides]
    frames, tokens = [20, 20, 3], [6, 0, 6]
    losses, _ = sum_loss(*sides, targets, frames, tokens)
    sizes = [torch.tensor(lengths, dtype=torch.int32) for lengths in (frames, tokens)]
    expected = torchaudio_loss(sides[0][:, :, None] + sides[1][:, None], targets.int(), *sizes, blank=0, reduction="none")
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-3)
    assert_close(gradients(losses, sides), gradients(expected, sides), rtol=1e-3, atol=1e-3)


def bands(cells, shape):
    """For every utterance and state the first token of the band and the one behind its last."""
    inside = torch.zeros(shape, dtype=torch.bool)
    inside.view(-1)[cells] = True
    counts = inside.sum(2)
    starts = inside.int().argmax(2)
    for row, t in inside.any(2).nonzero().tolist():
        assert inside[row, t, starts[row, t] : starts[row, t] + counts[row, t]].all()  # neighbours
    return starts, counts


@pytest.mark.parametrize("scale", [1.0, 5.0, 30.0])
@pytest.mark.parametrize("width", [2, 3, 5, 40])
def test_a_band_leads_from_the_first_to_the_last_cell(scale, width):
    frames, tokens = [30, 9, 3, 1, 12], [17, 17, 17, 17, 0]
    sides, targets = logits(30, 17, batch=5, scale=scale)
    cells = pruned_cells(sum_loss(*sides, targets, frames, tokens)[1], frames, tokens, width)
    assert len(cells) == len(cells.unique())
    starts, counts = bands(cells, (5, 30, 18))
    for row, (size, length) in enumerate(zip(frames, tokens, strict=True)):
        widths = {min(max(width, -(-length // size) + 1), length + 1)}  # as narrow as it can be
        assert set(counts[row, :size].tolist()) == widths and not counts[row, size:].any()
        steps = starts[row, 1:size] - starts[row, : size - 1]
        assert starts[row, 0] == 0 and starts[row, size - 1] + counts[row, size - 1] == length + 1
        assert (steps >= 0).all() and (steps < max(2, *widths)).all()


def test_a_band_over_everything_gives_the_exact_loss():
    leaves, targets = inputs()
    _, passed = sum_loss(*logits()[0], targets, FRAMES, TOKENS)
    losses = rnnt_loss(*leaves, targets, FRAMES, TOKENS, cells=pruned_cells(passed, FRAMES, TOKENS, 4))
    expected = rnnt_loss(*leaves, targets, FRAMES, TOKENS)
    torch.testing.assert_close(losses, expected, rtol=0, atol=0)
    assert_close(gradients(losses, leaves), gradients(expected, leaves), rtol=0, atol=0)


def test_a_narrow_band_loses_alignments_only():
    leaves, targets = inputs(40, 20, batch=2)
    frames, tokens = [40, 25], [20, 18]
    sides, _ = logits(40, 20, batch=2)
    passed = sum_loss(*sides, targets, frames, tokens)[1]
    narrow, wide, exact = (
        rnnt_loss(*leaves, targets, frames, tokens, cells=pruned_cells(passed, frames, tokens, width)) for width in (3, 8, 21)
    )
    assert (narrow > wide).all() and (wide > exact).all() and narrow.isfinite().all()


def test_the_band_follows_the_alignments_that_the_logits_prefer():
    """Each of the last states prefers one token: the band stays at the start until then, and holds nearly all of the probability."""
    frames, length = 20, 6
    targets = torch.tensor([[1, 2, 3, 4, 1, 2]])
    states, texts = torch.zeros(1, frames, VOCAB, dtype=torch.float64), torch.zeros(1, length + 1, VOCAB, dtype=torch.float64)
    states[:, :, 0] = 6.0
    states[0, torch.arange(14, 20), targets[0]] = 12.0
    _, passed = sum_loss(states, texts, targets, [frames], [length])
    cells = pruned_cells(passed, [frames], [length], 4)
    starts, _ = bands(cells, (1, frames, length + 1))
    assert not starts[0, :13].any() and starts[0, -1] == length + 1 - 4
    assert passed.flatten()[cells].sum() > 0.95 * passed.sum()


def test_utterances_do_not_see_each_other_and_padding_changes_nothing():
    frames, tokens = [30, 9, 12], [17, 8, 0]
    sides, targets = logits(30, 17, scale=4.0)
    losses, passed = sum_loss(*sides, targets, frames, tokens)
    starts, counts = bands(pruned_cells(passed, frames, tokens, 4), (3, 30, 18))
    for row, (size, length) in enumerate(zip(frames, tokens, strict=True)):
        alone = [sides[0][row : row + 1, :size], sides[1][row : row + 1, : length + 1]]
        loss, cells = sum_loss(*alone, targets[row : row + 1, :length], [size], [length])
        torch.testing.assert_close(loss[0], losses[row], rtol=1e-12, atol=1e-12)
        of_alone = bands(pruned_cells(cells, [size], [length], 4), (1, size, length + 1))
        assert torch.equal(of_alone[0][0], starts[row, :size]) and torch.equal(of_alone[1][0], counts[row, :size])


def test_no_utterance():
    empty = torch.zeros(0, 4, VOCAB), torch.zeros(0, 3, VOCAB)
    losses, passed = sum_loss(*empty, torch.zeros(0, 2, dtype=torch.long), [], [])
    cells = pruned_cells(passed, [], [], 3)
    assert losses.shape == (0,) and cells.shape == (0,)
    joint = torch.zeros(0, 4, CHANNELS), torch.zeros(0, 3, CHANNELS), torch.zeros(VOCAB, CHANNELS), torch.zeros(VOCAB)
    assert rnnt_loss(*joint, torch.zeros(0, 2, dtype=torch.long), [], [], cells=cells).shape == (0,)
