"""Tokens as states of an encoder, and the vector that stands for masked ones."""

from __future__ import annotations

import torch

from m2asr.models.embedding import MaskVector, TokenEmbedding


def test_every_token_has_a_vector_that_learns_by_itself() -> None:
    torch.manual_seed(0)
    embedding, tokens = TokenEmbedding(vocab=6, dim=4, tokens="phones"), torch.tensor([[1, 4, 1], [5, 0, 0]])
    states = embedding(tokens)
    assert states.shape == (2, 3, 4) and torch.equal(states[0, 0], states[0, 2]) and not torch.equal(states[0, 0], states[0, 1])
    states[0].sum().backward()
    assert embedding.table.weight.grad.sum(1).tolist() == [0, 8, 0, 0, 4, 0]


def test_a_mask_is_a_token_after_the_last_and_leaves_the_table_as_it_is() -> None:
    embeddings = []
    for masks in (False, True):
        torch.manual_seed(0)
        embeddings.append(TokenEmbedding(vocab=6, dim=4, tokens="phones", masks=masks))
    plain, masked = embeddings
    tokens = torch.tensor([[6, 4, 6], [5, 0, 0]])
    assert torch.equal(masked.table.weight, plain.table.weight) and plain.state_dict().keys() == {"table.weight"}
    states = masked(tokens)
    assert torch.equal(states[1], plain(tokens[1:])[0])
    assert torch.equal(states[0, 0], masked.mask) and torch.equal(states[0, 2], masked.mask)
    states[0].sum().backward()
    assert masked.mask.grad.tolist() == [2.0] * 4 and masked.table.weight.grad.sum(1).tolist() == [0, 0, 0, 0, 4, 0]


def test_the_vector_stands_where_states_are_masked_and_nowhere_else() -> None:
    torch.manual_seed(0)
    vector, states = MaskVector(4), torch.randn(2, 3, 4, requires_grad=True)
    mask = torch.tensor([[True, False, False], [False, True, True]])
    masked = vector(states, mask)
    assert torch.equal(masked[~mask], states[~mask]) and (masked[mask] == vector.vector).all()
    masked.sum().backward()
    assert torch.equal(states.grad, (~mask).float()[:, :, None].expand(-1, -1, 4)) and vector.vector.grad.tolist() == [3.0] * 4


def test_the_vector_takes_the_type_of_the_states() -> None:
    mask = torch.tensor([[True, False]])
    masked = MaskVector(4)(torch.randn(1, 2, 4, dtype=torch.bfloat16), mask)
    assert masked.dtype == torch.bfloat16
