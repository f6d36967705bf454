"""Heads that map states to tokens: a tied one is the embedding, read backwards."""

from __future__ import annotations

import torch

from m2asr.models.embedding import TokenEmbedding
from m2asr.models.token_head import TiedHead, TokenHead

DIM, VOCAB = 6, 9


def tied() -> tuple[TiedHead, TokenEmbedding]:
    torch.manual_seed(0)
    embedding = TokenEmbedding(VOCAB, DIM, "phones").double()
    head = TiedHead({"phones": embedding}, "phones").double()
    torch.nn.init.normal_(head.blank)
    return head, embedding


def states() -> torch.Tensor:
    return torch.randn(2, 5, DIM, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_logits_of_a_tied_head_are_inner_products():
    head, embedding = tied()
    found = head(states())
    expected = states() @ embedding.table.weight.T / DIM**0.5
    torch.testing.assert_close(found[..., 1:], expected[..., 1:], rtol=0, atol=1e-12)
    torch.testing.assert_close(found[..., 0], states() @ head.blank / DIM**0.5, rtol=0, atol=1e-12)
    assert [name for name, _ in head.named_parameters()] == ["blank"]


def test_the_embedding_learns_as_input_and_as_output():
    """Its gradient is the sum of both, as brute force gives it."""
    head, embedding = tied()
    tokens = torch.tensor([[1, 3, 3], [8, 2, 1]])
    (head(states()).logsumexp(-1).sum() + embedding(tokens).pow(2).sum()).backward()
    table = embedding.table.weight.detach().clone().requires_grad_()
    rows = torch.cat([head.blank.detach()[None], table[1:]])
    ((states() @ rows.T / DIM**0.5).logsumexp(-1).sum() + table[tokens].pow(2).sum()).backward()
    torch.testing.assert_close(embedding.table.weight.grad, table.grad, rtol=0, atol=1e-12)


def test_without_learning_a_gradient_goes_into_the_states_alone():
    head, embedding = tied()
    x = states().requires_grad_()
    head(x, learn=False).pow(2).sum().backward()
    assert x.grad.abs().sum() > 0 and head.blank.grad is None and embedding.table.weight.grad is None


def test_a_token_head_is_a_linear_layer():
    torch.manual_seed(0)
    head = TokenHead(DIM, VOCAB).double()
    torch.testing.assert_close(head(states()), states() @ head.output.weight.T + head.output.bias, rtol=0, atol=1e-12)
