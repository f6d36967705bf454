"""Properties of the Conformer encoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from m2asr.config import complete, construct
from m2asr.errors import UserError
from m2asr.models import ENCODERS
from m2asr.models.conformer import Conformer
from m2asr.models.encoded import Encoded

FEAT_DIM = 20
FRAMES = [97, 60, 31, 7]


def conformer(
    subsampling: str = "conv2d", dropout: float = 0.0, dtype: torch.dtype = torch.float64, window: list[int] | None = None
) -> Conformer:
    torch.manual_seed(0)
    return Conformer(FEAT_DIM, blocks=2, dim=16, heads=2, kernel=5, dropout=dropout, subsampling=subsampling, window=window).to(dtype)


def utterances(frames: list[int], dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(length, FEAT_DIM, generator=generator, dtype=dtype) for length in frames]


def padded(utts: list[torch.Tensor], size: int, fill: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    feats = torch.full((len(utts), size, FEAT_DIM), fill, dtype=utts[0].dtype)
    for row, utt in enumerate(utts):
        feats[row, : len(utt)] = utt
    return feats, torch.tensor([len(utt) for utt in utts])


def run(model: Conformer, feats: torch.Tensor, lengths: torch.Tensor, causal: bool = False) -> Encoded:
    """The states of features at all taps."""
    states, valid = model.frontend(feats), model.output_lengths(lengths)
    return Encoded({"frontend": states, **model(states, valid, model.taps, causal=causal)}, valid)


def gradients(model: Conformer, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> list[torch.Tensor]:
    """Gradients of a sum over all valid states of all taps."""
    model.zero_grad()
    for feats, lengths in batches:
        encoded = run(model, feats, lengths)
        for state in encoded.states.values():
            for row, length in enumerate(encoded.lengths.tolist()):
                state[row, :length].pow(3).sum().backward(retain_graph=True)
    return [parameter.grad.clone() for parameter in model.parameters()]


@pytest.mark.parametrize("subsampling", ["conv2d", "dwconv", "windows"])
def test_padding_changes_no_state_and_no_gradient(subsampling: str) -> None:
    model, utts = conformer(subsampling), utterances(FRAMES)
    together = padded(utts, size=120, fill=9.0)  # what stands in the padding must not matter
    alone = [padded([utt], size=len(utt)) for utt in utts]
    encoded = run(model, *together)
    for row, (feats, lengths) in enumerate(alone):
        single = run(model, feats, lengths)
        assert encoded.lengths[row] == single.lengths[0] == single.states["output"].shape[1]
        for tap, state in single.states.items():
            torch.testing.assert_close(encoded.states[tap][row, : single.lengths[0]], state[0], rtol=0, atol=1e-12)
    for actual, expected in zip(gradients(model, [together]), gradients(model, alone), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


def test_utterances_do_not_see_each_other() -> None:
    model = conformer()
    feats, lengths = padded(utterances(FRAMES), size=97)
    feats.requires_grad_()
    run(model, feats, lengths).states["output"][1, :10, 0].sum().backward()  # all channels of normalized states sum to 0
    touched = feats.grad.abs().sum((1, 2)) > 0
    assert touched.tolist() == [False, True, False, False]


def test_no_gradient_reaches_padding() -> None:
    feats, lengths = padded(utterances(FRAMES), size=120)
    feats.requires_grad_()
    encoded = run(conformer(), feats, lengths)
    valid = torch.arange(encoded.states["output"].shape[1]) < encoded.lengths[:, None]
    encoded.states["output"][valid].pow(2).sum().backward()
    for row, length in enumerate(FRAMES):
        assert feats.grad[row, :length].abs().sum() > 0
        assert feats.grad[row, length:].abs().sum() == 0


@pytest.mark.parametrize("subsampling", ["conv2d", "dwconv", "windows"])
@pytest.mark.parametrize("size", [1, 6, 7, 50])
def test_too_short_utterances_have_no_states_and_break_nothing(subsampling: str, size: int) -> None:
    model = conformer(subsampling)
    feats, lengths = torch.randn(3, size, FEAT_DIM, dtype=torch.float64), torch.tensor([size, min(size, 6), 0])
    encoded = run(model, feats, lengths)
    assert encoded.lengths.tolist() == model.output_lengths(lengths).tolist()
    assert encoded.lengths[1:].tolist() == [0, 0]
    encoded.states["output"].sum().backward()
    assert all(torch.isfinite(state).all() for state in encoded.states.values())
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_output_lengths_are_the_states_the_convolutions_make() -> None:
    """Also where lengths are numbers or arrays of the host."""
    model, sizes = conformer(), range(1, 40)
    expected = [model.frontend(torch.zeros(1, size, FEAT_DIM, dtype=torch.float64)).shape[1] if size > 6 else 0 for size in sizes]
    assert [model.output_lengths(size) for size in sizes] == expected
    assert model.output_lengths(torch.tensor(sizes)).tolist() == model.output_lengths(np.array(sizes)).tolist() == expected


def test_only_the_taps_that_are_asked_for_are_kept() -> None:
    model = conformer()
    feats, lengths = padded(utterances(FRAMES), size=97)
    encoded = run(model, feats, lengths)
    assert list(encoded.states) == model.taps == ["frontend", "block1", "block2", "output"]
    assert all(state.shape == (4, 23, model.dim) for state in encoded.states.values())
    for taps in (["block1"], ["output"], ["block1", "output"], []):
        states_at = model(encoded.states["frontend"], encoded.lengths, taps)
        assert list(states_at) == taps and all(torch.equal(state, encoded.states[tap]) for tap, state in states_at.items())


def test_blocks_after_the_last_tap_do_not_run() -> None:
    model, ran = conformer(), []
    for number, block in enumerate(model.blocks, 1):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    feats, lengths = padded(utterances(FRAMES), size=97)
    for taps, expected in (([], []), (["block1"], [1]), (["block2"], [1, 2]), (["block1", "output"], [1, 2])):
        ran.clear()
        model(model.frontend(feats), model.output_lengths(lengths), taps)
        assert ran == expected


def test_blocks_before_the_start_are_left_out() -> None:
    """Started after the first block with its states, the remaining blocks give the same output."""
    model = conformer()
    encoded = run(model, *padded(utterances(FRAMES), size=97))
    states_at = model(encoded.states["block1"], encoded.lengths, ["block1", "block2", "output"], start=1)
    assert list(states_at) == ["block2", "output"]
    torch.testing.assert_close(states_at["output"], encoded.states["output"], rtol=0, atol=0)
    model.zero_grad()
    states_at["output"].sum().backward()
    assert all(parameter.grad is not None for parameter in model.blocks[1].parameters())


@pytest.mark.parametrize("causal", [False, True])
def test_without_padding_no_mask_is_needed(causal: bool) -> None:
    model, states, lengths = conformer(), torch.randn(3, 12, 16, dtype=torch.float64), torch.tensor([12, 12, 12])
    plain, masked = (model(states, lengths, causal=causal, padded=padded)["output"] for padded in (False, True))
    torch.testing.assert_close(plain, masked, rtol=0, atol=1e-12)


def test_attention_knows_the_order() -> None:
    """Without positions, attention alone would turn reversed states into reversed outputs."""
    model = conformer()
    for block in model.blocks:
        torch.nn.init.zeros_(block.convolution.output.weight)
    states, lengths = torch.randn(1, 12, 16, dtype=torch.float64), torch.tensor([12])
    output = model(states, lengths)["output"]
    backwards = model(states.flip(1), lengths)["output"].flip(1)
    assert (output - backwards).abs().max() > 1e-3


def test_dropout_acts_in_training_only_and_follows_the_seed() -> None:
    model = conformer(dropout=0.3)
    feats, lengths = padded(utterances(FRAMES), size=97)

    def output(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return run(model, feats, lengths).states["output"]

    assert torch.equal(output(1), output(1))
    assert not torch.equal(output(1), output(2))
    model.eval()
    assert torch.equal(output(1), output(2))


def test_bfloat16_is_near_float32() -> None:
    model = conformer(dtype=torch.float32)
    feats, lengths = padded(utterances(FRAMES, torch.float32), size=97)
    exact = run(model, feats, lengths).states["output"]
    with torch.autocast("cpu", torch.bfloat16):
        encoded = run(model, feats, lengths)
    for row, length in enumerate(encoded.lengths.tolist()):
        error = encoded.states["output"][row, :length].float() - exact[row, :length]
        assert error.abs().max() < 0.1
    encoded.states["output"].sum().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in model.parameters())


def test_decoding_first_does_not_break_training() -> None:
    model = conformer(dtype=torch.float32)
    feats, lengths = padded(utterances([1201], torch.float32), size=1201)  # a length whose tables no other test has asked for
    with torch.inference_mode():
        run(model, feats, lengths)
    run(model, feats, lengths).states["output"].sum().backward()


def test_built_from_a_config() -> None:
    options = complete(ENCODERS, "model.encoder", {"type": "conformer", "subsampling": "dwconv"}, ("feat_dim",))
    assert options["blocks"] == 8
    with torch.device("meta"):
        encoder = construct(ENCODERS, "model.encoder", {"type": "conformer"}, feat_dim=80)
    assert sum(parameter.numel() for parameter in encoder.parameters()) > 50_000_000
    with pytest.raises(UserError, match="subsampling"):
        construct(ENCODERS, "model.encoder", {"type": "conformer", "subsampling": "conv3d"}, feat_dim=80)


@pytest.mark.parametrize("window", [[-1, 4], [4], [4, -1], [4, 4, 4], [], [1.5, 2], 3, ["a", 2], [True, 2]])
def test_a_window_that_is_not_two_numbers_from_0_is_refused(window: object) -> None:
    assert construct(ENCODERS, "model.encoder", {"type": "conformer", "blocks": 1, "window": [32, 0]}, feat_dim=FEAT_DIM).window == (32, 0)
    with pytest.raises(UserError, match="window") as error:
        construct(ENCODERS, "model.encoder", {"type": "conformer", "blocks": 1, "window": window}, feat_dim=FEAT_DIM)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("options", "word"), [({"dim": 18, "heads": 4}, "heads"), ({"kernel": 4}, "kernel")])
def test_impossible_sizes_are_one_clear_line(options: dict[str, int], word: str) -> None:
    with pytest.raises(UserError, match=word):
        Conformer(FEAT_DIM, blocks=1, **{"dim": 16, "heads": 2, **options})


@pytest.mark.parametrize("size", [97, 130])
def test_a_causal_state_sees_no_later_one(size: int) -> None:
    """Whatever follows, and however much is padded, changes no state; what came before does."""
    model, utts = conformer(), utterances(FRAMES)
    original = run(model, *padded(utts, size), causal=True)
    utts[0][60:] += 1.0  # front-end states from (60 - 6) / 4 on see it
    changed = run(model, *padded(utts, size), causal=True)
    for tap, states in original.states.items():
        assert torch.equal(states[0, :13], changed.states[tap][0, :13])
        assert (states[0, 14:23] != changed.states[tap][0, 14:23]).any(-1).all()
    both = run(model, *padded(utts, size))
    assert not torch.allclose(both.states["output"][0, :13], changed.states["output"][0, :13])


def test_padding_changes_nothing_in_a_causal_pass() -> None:
    model, utts = conformer(), utterances(FRAMES)
    together = run(model, *padded(utts, size=120, fill=9.0), causal=True)
    for row, utt in enumerate(utts):
        single = run(model, *padded([utt], size=len(utt)), causal=True)
        length = int(single.lengths[0])
        torch.testing.assert_close(together.states["output"][row, :length], single.states["output"][0], rtol=0, atol=1e-12)


WINDOWS = [[4, 4], [0, 0], [0, 3], [20, 0], [500, 3]]


def states_and_lengths(lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(len(lengths), max(lengths), 16, generator=generator, dtype=torch.float64), torch.tensor(lengths)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lengths", [[12, 5, 0], [130, 40, 3, 0]])
def test_a_window_is_a_mask_of_the_attention(window: list[int], causal: bool, lengths: list[int]) -> None:
    """Valid states and all gradients are those of the blocks with a mask over all pairs of states."""
    model, (states, counts) = conformer(window=window), states_and_lengths(lengths)
    time = torch.arange(states.shape[1])
    valid = time < counts[:, None]
    distance = time - time[:, None]  # of the column from the row
    near = (distance >= -window[0]) & (distance <= (0 if causal else window[1]))
    mask = torch.zeros(len(counts), 1, *near.shape).masked_fill(~(near & valid[:, None, None] | (distance == 0)), float("-inf"))
    expected = states
    for block in model.blocks:
        expected = block(expected, mask, valid.unsqueeze(-1), causal)[0]
    actual = model(states, counts, causal=causal)["output"]
    torch.testing.assert_close(actual[valid], expected[valid], rtol=0, atol=1e-11)
    parameters = list(model.blocks.parameters())
    grads = (torch.autograd.grad(output[valid].pow(3).sum(), parameters) for output in (actual, expected))
    for grad, expected_grad in zip(*grads, strict=True):
        torch.testing.assert_close(grad, expected_grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("causal", [False, True])
def test_padding_changes_no_state_within_a_window(window: list[int], causal: bool) -> None:
    model, (states, counts) = conformer(window=window), states_and_lengths([130, 97, 12, 1, 0])
    together = model(states, counts, causal=causal)["output"]
    assert torch.isfinite(together).all()
    for row, count in enumerate(counts[:4]):
        alone = model(states[row : row + 1, :count], count[None], causal=causal, padded=False)["output"]
        torch.testing.assert_close(together[row, :count], alone[0], rtol=0, atol=1e-12)


def test_a_wide_window_changes_nothing() -> None:
    states, counts = states_and_lengths([60, 33])
    for causal in (False, True):
        plain, wide = (conformer(window=window)(states, counts, causal=causal)["output"] for window in (None, [59, 59]))
        assert torch.equal(plain, wide)


@pytest.mark.parametrize("frames", [12, 130])
def test_a_window_limits_what_a_state_sees(frames: int) -> None:
    """Through one block without convolution, state 6 sees 2 states before it and 3 after it."""
    model, (states, counts) = conformer(window=[2, 3]), states_and_lengths([frames])
    torch.nn.init.zeros_(model.blocks[0].convolution.output.weight)
    states.requires_grad_()
    model(states, counts, ["block1"])["block1"][0, 6].pow(3).sum().backward()
    seen = states.grad[0].abs().sum(-1).nonzero().flatten().tolist()
    assert seen == [4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("window", [[4, 4], [4, 0], [64, 64]])
@pytest.mark.parametrize("frames", [30, 150])
def test_a_causal_state_in_a_window_sees_no_later_one(window: list[int], frames: int) -> None:
    model, (states, counts) = conformer(window=window), states_and_lengths([frames, frames - 7])
    states.requires_grad_()
    output = model(states, counts, causal=True)["output"]
    grad = torch.autograd.grad(output[:, :17].pow(3).sum(), states)[0]
    assert (grad[:, 17:] == 0).all() and (grad[:, 12:17].abs().sum(-1) > 0).all()


@pytest.mark.parametrize("window", [[4, 2], [32, 32]])
def test_bfloat16_in_a_window_is_near_float32(window: list[int]) -> None:
    model = conformer(dtype=torch.float32, window=window)
    states, counts = states_and_lengths([160, 97, 0])
    exact = model(states.float(), counts)["output"]
    with torch.autocast("cpu", torch.bfloat16):
        short = model(states.float(), counts)["output"]
    valid = torch.arange(160) < counts[:, None]
    assert (short.float() - exact)[valid].abs().max() < 0.1
    short.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.blocks.parameters())
