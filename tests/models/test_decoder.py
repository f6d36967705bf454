"""Properties of the Transformer decoder: causal, exact under padding, equal step by step."""

from __future__ import annotations

import pytest
import torch

from m2asr.errors import UserError
from m2asr.models.decoder import TransformerDecoder
from m2asr.models.experts import Experts
from m2asr.models.layers import FeedForward

VOCAB = 7


def decoder(dropout: float = 0.0, experts: Experts | None = None) -> TransformerDecoder:
    torch.manual_seed(0)
    return TransformerDecoder(6, VOCAB, ["it", "ru"], blocks=2, dim=16, heads=2, dropout=dropout, experts=experts).double()


def inputs(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens (3, 5), memory (3, 8, 6) and its lengths."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, VOCAB - 1, (3, 5), generator=generator)
    return tokens, torch.randn(3, 8, 6, generator=generator, dtype=torch.float64), torch.tensor([8, 5, 1])


def test_experts_see_no_position_that_is_not_valid():
    model, (tokens, memory, lengths) = decoder(experts=Experts(count=3, blocks=[2])), inputs()
    valid = torch.tensor([[True] * 6, [True] * 3 + [False] * 3, [True] + [False] * 5])
    logits, routers = model(tokens, memory, lengths, valid=valid, with_routers=True)
    assert [chosen.shape for chosen in routers] == [(3, 6, 3)]
    torch.testing.assert_close(logits[valid], model(tokens, memory, lengths)[valid], rtol=0, atol=1e-12)
    logits[~valid].sum().backward()
    assert not model.blocks[1].feed_forward.wide.weight.grad.any()
    assert isinstance(model.blocks[0].feed_forward, FeedForward)


@pytest.mark.parametrize("options", [{"router": "shared"}, {"embedding": "sounds"}, {"mean": True}, {"languages": ["en"]}])
def test_routers_of_a_decoder_read_tokens_alone(options):
    with pytest.raises(UserError, match="a decoder's routers read the states of tokens alone"):
        decoder(experts=Experts(count=2, **options))


@pytest.mark.parametrize("position", range(5))
def test_no_token_sees_a_later_one(position):
    model, (tokens, memory, lengths) = decoder(), inputs()
    changed = tokens.clone()
    changed[:, position] = tokens[:, position] % (VOCAB - 2) + 1
    before, after = model(tokens, memory, lengths), model(changed, memory, lengths)
    assert torch.equal(before[:, : position + 1], after[:, : position + 1])  # the logits of a token stand at the position before it
    assert (before[:, position + 1 :] != after[:, position + 1 :]).any(-1).all()


def test_padding_and_neighbours_change_no_logit():
    model, (tokens, memory, lengths) = decoder(), inputs()
    together = model(torch.cat([tokens, tokens[:, :2]], dim=1), torch.cat([memory, 9 + memory], dim=1), lengths)
    for row, length in enumerate(lengths.tolist()):
        rows = slice(row, row + 1)
        alone = model(tokens[rows], memory[rows, :length], lengths[rows])
        torch.testing.assert_close(together[rows, :6], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("experts", [None, Experts(count=3, top=2)], ids=["dense", "experts"])
@pytest.mark.parametrize("prefix", [None, "it"])
def test_step_by_step_equals_all_at_once(prefix, experts):
    """W prefixes per utterance, which change their order at every step."""
    model, (tokens, memory, lengths) = decoder(experts=experts), inputs()
    second = inputs(seed=1)[0]
    state = model.begin(memory, lengths, prefix)
    steps = [model.step(state, None, beam=2)]
    state.select(torch.tensor([[0, 0]] * 3))  # both continue the first prefix
    paths = torch.stack([tokens, second], dim=1)  # (B, W, U)
    for position in range(5):
        steps.append(model.step(state, paths[:, :, position], beam=2))
        state.select(torch.tensor([[1, 0]] * 3))
        paths = paths.flip(1)
    logits = torch.stack(steps, dim=2)  # (B, W, U + 1, V)
    for path in range(2):
        expected = model(paths[:, path], memory, lengths, prefix)
        order = [(path + 1 + step) % 2 for step in range(5)]  # index of this path in the beam at each step
        got = torch.stack([logits[:, path, 0], *(logits[:, index, step + 1] for step, index in enumerate(order))], dim=1)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


def test_each_prefix_has_its_own_start_vector():
    model, (tokens, memory, lengths) = decoder(), inputs()
    logits = [model(tokens, memory, lengths, prefix) for prefix in (None, "it", "ru")]
    assert not torch.allclose(logits[0], logits[1]) and not torch.allclose(logits[1], logits[2])
    with pytest.raises(UserError, match="prefix `fr`: this decoder does not have it; its prefixes: it, ru"):
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


def test_a_decoder_of_joined_tokenizers_is_one_for_each():
    """Tokens and logits of a part are those of a decoder whose tables hold that part alone."""
    torch.manual_seed(0)
    joint = TransformerDecoder(6, 0, blocks=1, dim=16, heads=2, dropout=0.0, joined=["a", "b"], sizes={"a": 5, "b": VOCAB}).double()
    assert joint.embedding.num_embeddings == 5 + VOCAB
    alone = TransformerDecoder(6, VOCAB, blocks=1, dim=16, heads=2, dropout=0.0).double()
    weights = joint.state_dict()
    alone.load_state_dict({key: value[5:] if len(value) == 5 + VOCAB else value for key, value in weights.items()})
    part, (tokens, memory, lengths) = joint.for_tokens("b"), inputs()
    assert part.eos == alone.eos == VOCAB - 1 and alone.for_tokens("anything") is alone
    expected = alone(tokens, memory, lengths)
    torch.testing.assert_close(part(tokens, memory, lengths), expected, rtol=0, atol=1e-12)
    state = part.begin(memory, lengths)
    steps = [part.step(state, None), *(part.step(state, tokens[:, position : position + 1]) for position in range(5))]
    torch.testing.assert_close(torch.cat(steps, dim=1), expected, rtol=0, atol=1e-12)
