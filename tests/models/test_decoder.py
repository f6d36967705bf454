"""Properties of the Transformer decoder: causal, exact under padding, equal step by step."""

from __future__ import annotations

import pytest
import torch

from m2asr.errors import UserError
from m2asr.models.decoder import TransformerDecoder

VOCAB = 7


def decoder(dropout: float = 0.0) -> TransformerDecoder:
    torch.manual_seed(0)
    return TransformerDecoder(6, VOCAB, ["it", "ru"], blocks=2, dim=16, heads=2, dropout=dropout).double()


def inputs(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens (3, 5), memory (3, 8, 6) and its lengths."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, VOCAB - 1, (3, 5), generator=generator)
    return tokens, torch.randn(3, 8, 6, generator=generator, dtype=torch.float64), torch.tensor([8, 5, 1])


@pytest.mark.parametrize("place", range(5))
def test_no_token_sees_a_later_one(place):
    model, (tokens, memory, lengths) = decoder(), inputs()
    changed = tokens.clone()
    changed[:, place] = tokens[:, place] % (VOCAB - 2) + 1
    before, after = model(tokens, memory, lengths), model(changed, memory, lengths)
    assert torch.equal(before[:, : place + 1], after[:, : place + 1])  # the logits of a token stand before it
    assert (before[:, place + 1 :] != after[:, place + 1 :]).any(-1).all()


def test_padding_and_neighbours_change_no_logit():
    model, (tokens, memory, lengths) = decoder(), inputs()
    together = model(torch.cat([tokens, tokens[:, :2]], dim=1), torch.cat([memory, 9 + memory], dim=1), lengths)
    for row, length in enumerate(lengths.tolist()):
        one = slice(row, row + 1)
        alone = model(tokens[one], memory[one, :length], lengths[one])
        torch.testing.assert_close(together[one, :6], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("prefix", [None, "it"])
def test_step_by_step_equals_all_at_once(prefix):
    """W prefixes per utterance, with their places changed on the way."""
    model, (tokens, memory, lengths) = decoder(), inputs()
    other = inputs(seed=1)[0]
    state = model.begin(memory, lengths, prefix)
    found = [model.step(state, None, beam=2)]
    state.select(torch.tensor([[0, 0]] * 3))  # both places go on from the first
    paths = torch.stack([tokens, other], dim=1)  # (B, W, U)
    for place in range(5):
        found.append(model.step(state, paths[:, :, place], beam=2))
        state.select(torch.tensor([[1, 0]] * 3))
        paths = paths.flip(1)
    logits = torch.stack(found, dim=2)  # (B, W, U + 1, V)
    for place in range(2):
        expected = model(paths[:, place], memory, lengths, prefix)
        order = [(place + 1 + step) % 2 for step in range(5)]  # where this path stood at each step
        got = torch.stack([logits[:, place, 0], *(logits[:, where, step + 1] for step, where in enumerate(order))], dim=1)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


def test_each_prefix_has_a_start_of_its_own():
    model, (tokens, memory, lengths) = decoder(), inputs()
    found = [model(tokens, memory, lengths, prefix) for prefix in (None, "it", "ru")]
    assert not torch.allclose(found[0], found[1]) and not torch.allclose(found[1], found[2])
    with pytest.raises(UserError, match="prefix `fr`: this decoder has it, ru"):
        model(tokens, memory, lengths, "fr")


def test_a_memory_without_length_gives_no_nan():
    model, (tokens, memory, _) = decoder(), inputs()
    logits = model(tokens, memory, torch.tensor([8, 5, 0]))
    logits.sum().backward()
    assert torch.isfinite(logits).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_heads_must_fit():
    with pytest.raises(UserError, match="heads"):
        TransformerDecoder(6, VOCAB, dim=18, heads=4)
