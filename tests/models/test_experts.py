"""Mixtures of experts: equal to dense modules where they must be, blind to padding, and to the numbers that experts have."""

from __future__ import annotations

import itertools

import pytest
import torch

from m2asr.errors import UserError
from m2asr.models.conformer import Conformer
from m2asr.models.encoder import Condition
from m2asr.models.experts import ExpertFeedForward, Experts, Router, choices, expert_counts, limit, scales
from m2asr.models.layers import FeedForward
from m2asr.models.token_head import TokenHead

DIM, HIDDEN, FEAT_DIM = 16, 24, 20


def layer(count: int, seed: int = 0, **options: object) -> ExpertFeedForward:
    torch.manual_seed(seed)
    return ExpertFeedForward(DIM, HIDDEN, 0.0, count, router=Router(DIM, count), **options).double()


def states(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def copied(dense: torch.nn.Module, experts: torch.nn.Module) -> torch.nn.Module:
    """Experts that all are copies of a dense module; the router keeps its weights."""
    weights = experts.state_dict()
    for key, value in dense.state_dict().items():
        weights[key] = value.expand_as(weights[key]).clone()
    experts.load_state_dict(weights)
    return experts


@pytest.mark.parametrize(("count", "top", "scale"), [(1, 1, "probability"), (1, 1, "straight"), (5, 1, "straight"), (5, 1, "renormalized"),
                                                     (5, 2, "straight"), (5, 3, "renormalized")])  # fmt: skip
def test_copies_of_a_dense_module_are_that_module(count, top, scale):
    """Outputs and gradients; those of all copies together are that of the one module."""
    torch.manual_seed(3)
    dense = FeedForward(DIM, HIDDEN, 0.0).double()
    mixture = copied(dense, layer(count, top=top, scale=scale))
    x, weight = states(3, 7).requires_grad_(), states(3, 7, seed=2)
    expected, (found, _) = dense(x), mixture(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    (expected * weight).sum().backward()
    ours, x.grad = x.grad.clone(), None
    (found * weight).sum().backward()
    if scale == "renormalized" or count == 1:  # else the router's gradient reaches the state as well
        torch.testing.assert_close(x.grad, ours, rtol=0, atol=1e-12)
    for name, param in dense.named_parameters():
        gradient = mixture.get_parameter(name).grad
        if not name.startswith("norm"):
            torch.testing.assert_close(gradient.sum(0), param.grad, rtol=0, atol=1e-12)


def test_by_hand():
    """Each state goes through the experts that the router prefers, and their outputs are added with their probabilities."""
    mixture, x = layer(4, top=2), states(2, 5)
    output, logits = mixture(x)
    normalized = mixture.norm(x)
    for b, t in itertools.product(range(2), range(5)):
        row = normalized[b, t]
        probabilities = (mixture.router.weight @ row).softmax(0)
        expected = torch.zeros(DIM, dtype=torch.float64)
        for expert in probabilities.argsort(descending=True)[:2]:
            wide = mixture.wide.weight[expert] @ row + mixture.wide.bias[expert]
            narrow = mixture.narrow.weight[expert] @ torch.nn.functional.silu(wide) + mixture.narrow.bias[expert]
            expected += probabilities[expert] * narrow
        torch.testing.assert_close(output[b, t], expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(logits[b, t].softmax(0), probabilities, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", ["probability", "straight", "renormalized"])
def test_the_router_learns_unless_its_scale_is_constant(scale):
    for top in (1, 2):
        mixture = layer(3, top=top, scale=scale)
        mixture(states(2, 6))[0].pow(2).sum().backward()
        gradient = mixture.router.weight.grad
        learns = gradient is not None and float(gradient.abs().max()) > 1e-9
        assert learns is not (scale == "renormalized" and top == 1)


def test_straight_has_the_relative_gradient_of_the_probability():
    probabilities = torch.tensor([[0.5, 0.25], [0.1, 0.05]], dtype=torch.float64, requires_grad=True)
    scaled = scales(probabilities, "straight")
    assert torch.equal(scaled.sum(-1), torch.ones(2, dtype=torch.float64))
    scaled.sum().backward()
    torch.testing.assert_close(probabilities.grad * probabilities.detach(), scaled.detach())


@pytest.mark.parametrize("scale", ["probability", "straight", "renormalized"])
def test_a_choice_of_probability_zero_adds_nothing(scale):
    logits = torch.tensor([300.0, 0.0], requires_grad=True)
    scaled = scales(logits.softmax(0), scale)  # in float32 the second is 0
    assert scaled.tolist() == [1.0, 0.0]
    scaled.sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_padding_goes_to_no_expert():
    mixture, x = layer(4), states(2, 6)
    valid = torch.tensor([[True] * 6, [True] * 3 + [False] * 3]).unsqueeze(-1)
    found = {}
    for fill in (0.0, 1e3):
        filled = x.masked_fill(~valid, fill).requires_grad_()
        output, _ = mixture(filled, valid)
        assert torch.equal(output[1, 3:], torch.zeros(3, DIM, dtype=torch.float64))
        output.pow(2).sum().backward()
        assert torch.equal(filled.grad[1, 3:], torch.zeros(3, DIM, dtype=torch.float64))
        found[fill] = [output.detach(), *(param.grad.clone() for param in mixture.parameters())]
        mixture.zero_grad()
    alone = mixture(x[1:, :3])[0]
    torch.testing.assert_close(found[0.0][0][1:, :3], alone, rtol=0, atol=1e-12)
    for first, second in zip(*found.values(), strict=True):
        assert torch.equal(first, second)


def test_the_numbers_of_experts_mean_nothing():
    mixture, x = layer(5, top=2), states(2, 6)
    order = torch.tensor([3, 0, 4, 1, 2])
    permuted = layer(5, top=2)
    weights = mixture.state_dict()
    permuted.load_state_dict({key: value if key.startswith("norm") else value[order] for key, value in weights.items()})
    (expected, logits), (found, permuted_logits) = mixture(x), permuted(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(permuted_logits, logits[..., order], rtol=0, atol=1e-12)


def test_an_expert_without_states_gets_no_gradient_and_more_experts_than_states_are_fine():
    mixture, x = layer(9), states(1, 2)
    output, logits = mixture(x)
    output.sum().backward()
    used = set(logits.argmax(-1).flatten().tolist())
    for expert in range(9):
        assert (mixture.wide.weight.grad[expert].abs().sum() > 0) == (expert in used)


def test_a_capacity_leaves_the_last_states_of_an_expert_out():
    experts = torch.tensor([[[0], [0], [1], [0]], [[0], [2], [2], [3]]])  # 3 is the padding
    kept = limit(experts, count=3, capacity=0.9)  # 7 states, at most ceil(.9 * 7 / 3) = 3 each
    assert kept.flatten().tolist() == [0, 0, 1, 0, 3, 2, 2, 3]
    assert limit(experts, 3, 3.0).flatten().tolist() == experts.flatten().tolist()
    mixture, x = layer(3, capacity=0.01), states(2, 4)
    chosen = choices(mixture.router(mixture.norm(x)), None, 1)
    dropped = limit(chosen, 3, 0.01) == 3
    output, _ = mixture.train()(x)
    assert 8 - len(chosen.unique()) == int(dropped.sum()) == int((output == 0).all(-1).sum())
    assert int((mixture.eval()(x)[0] == 0).all(-1).sum()) == 0  # without limit where nothing is trained


def test_choices_and_counts():
    logits = torch.tensor([[[0.0, 2.0, 1.0], [5.0, 2.0, 1.0]], [[0.0, 0.0, 3.0], [9.0, 0.0, 0.0]]])
    chosen = choices(logits, torch.tensor([[True, True], [True, False]]), 1)
    assert chosen.flatten().tolist() == [1, 0, 2, 3]
    assert expert_counts(chosen, 3).tolist() == [1, 1, 1]


def encoder(experts: dict | None = None, blocks: int = 3, **options: object) -> Conformer:
    torch.manual_seed(0)
    chosen = None if experts is None else Experts(**experts)
    made = Conformer(FEAT_DIM, blocks=blocks, dim=DIM, heads=2, kernel=5, dropout=0.0, subsampling="windows", experts=chosen, **options)
    return made.double().eval()


@pytest.mark.parametrize(("where", "taps"), [("all", [1, 2, 3, 4]), ("even", [2, 4]), ("upper", [3, 4]), ([1, 4], [1, 4])])
def test_blocks_with_experts(where, taps):
    made = encoder({"count": 3, "blocks": where}, blocks=4)
    assert made.router_taps == [f"router{number}" for number in taps]
    assert [isinstance(block.feed_forward2, ExpertFeedForward) for block in made.blocks] == [number in taps for number in (1, 2, 3, 4)]
    found = made(states(2, 5), torch.tensor([5, 4]), made.taps)
    assert all(found[f"router{number}"].shape == (2, 5, 3) for number in taps)
    assert all(not isinstance(block.feed_forward1, ExpertFeedForward) for block in made.blocks)


def test_an_encoder_whose_experts_are_copies_is_the_dense_encoder():
    dense, mixture = encoder(), encoder({"count": 4, "scale": "straight"})
    copied(dense, mixture)
    x, lengths = states(2, 9), torch.tensor([9, 6])
    for found, expected in zip(*(made(x, lengths, ["block1", "output"]).values() for made in (mixture, dense)), strict=True):
        for row, length in enumerate(lengths):
            torch.testing.assert_close(found[row, :length], expected[row, :length], rtol=0, atol=1e-11)


def test_one_router_for_all_blocks():
    each, shared = encoder({"count": 4}), encoder({"count": 4, "router": "shared"})
    names = [name for name, _ in shared.named_parameters() if "router" in name]
    assert names == ["shared_router.weight"] and len([name for name, _ in each.named_parameters() if "router" in name]) == 3
    x, lengths = states(2, 9), torch.tensor([9, 6])
    shared(x, lengths)["output"].sum().backward()
    assert shared.shared_router.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("scale", ["probability", "straight", "renormalized"])
def test_every_utterance_goes_through_the_expert_of_its_language(scale):
    """Languages of no expert go through the last one; each expert is the dense module with its weights, and nothing else is learned."""
    options = Experts(count=3, router="language", languages=["en", "it"], scale=scale)
    spoken = ["it", "ru", "en", "it"]
    one_hot = torch.from_numpy(options.one_hot(spoken, spoken))
    lengths = torch.tensor([5, 5, 4, 3])
    mixture = options.layer(DIM, HIDDEN, 0.0, options.make_router(DIM + options.width(0))).double()
    assert not list(mixture.router.parameters()) and not mixture.router(states(4, 5).requires_grad_()).requires_grad
    x, valid = states(4, 5), (torch.arange(5) < lengths[:, None]).unsqueeze(-1)
    output, logits = mixture(x, valid, options.beside(x, lengths, None, one_hot, causal=False))
    assert torch.equal(logits.softmax(-1)[:, 0].argmax(-1), torch.tensor([1, 2, 0, 1])) and bool((logits.softmax(-1).amax(-1) == 1).all())
    dense = FeedForward(DIM, HIDDEN, 0.0).double()
    for row, expert in enumerate([1, 2, 0, 1]):
        weights = mixture.state_dict()
        dense.load_state_dict({key: weights[key] if key.startswith("norm") else weights[key][expert] for key in dense.state_dict()})
        torch.testing.assert_close(output[row, : lengths[row]], dense(x[row, : lengths[row]]), rtol=0, atol=1e-12)
    output[:1].sum().backward()
    assert [bool(gradient.any()) for gradient in mixture.narrow.weight.grad] == [False, True, False]


def test_a_language_without_an_expert():
    options = Experts(count=2, router="language", languages=["en", "it"])
    with pytest.raises(UserError, match="utterance utt2: no expert of the encoder is for language ru, only for en, it"):
        options.one_hot(["en", "ru"], ["utt1", "utt2"])
    assert Experts(count=2, languages=["en", "it"]).one_hot(["en", "ru"], ["utt1", "utt2"]).tolist() == [[1, 0], [0, 0]]


def test_what_routers_read_beside_the_states():
    options = Experts(count=2, embedding="sounds", mean=True, languages=["en", "it"])
    assert options.width(3) == 8
    embedded = torch.arange(24, dtype=torch.float64).view(2, 4, 3)
    language = torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    lengths = torch.tensor([4, 2])
    read = options.beside(states(2, 4), lengths, embedded, language, causal=False)
    assert read.shape == (2, 4, 8)
    torch.testing.assert_close(read[1, 0], torch.tensor([12, 13, 14, 13.5, 14.5, 15.5, 0, 0], dtype=torch.float64))
    assert torch.equal(read[1, 2:, :3], torch.zeros(2, 3, dtype=torch.float64))  # padding
    assert torch.equal(read[0, :, 6:], language[0].expand(4, 2))
    causal = options.beside(states(2, 4), lengths, embedded, language, causal=True)
    torch.testing.assert_close(causal[0, :, 3], torch.tensor([0, 1.5, 3, 4.5], dtype=torch.float64))  # of the states so far
    assert Experts(count=2).beside(states(2, 4), lengths, None, None, causal=False) is None


def test_no_gradient_goes_into_what_is_read_beside():
    options = Experts(count=2, embedding="sounds", mean=True)
    embedded = states(2, 4).requires_grad_()
    assert not options.beside(embedded, torch.tensor([4, 4]), embedded, None, causal=False).requires_grad


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"count": 2, "top": 3}, "experts.top: 3 is more than the 2 experts"),
        ({"count": 2, "blocks": [1, 7]}, "experts.blocks: 7 is behind the last block; there are 3"),
        ({"count": 2, "blocks": []}, "experts.blocks: no block has experts"),
        ({"count": 2, "mean": True}, "experts.mean: it is the mean of the states of `embedding`"),
        ({"count": 2, "languages": ["en", "en"]}, "experts.languages: a language is named twice"),
        ({"count": 2, "router": "language"}, "experts.languages: count is 2, and 0 are named"),
        ({"count": 1, "router": "language"}, "experts.languages: count is 1, and 0 are named"),
        ({"count": 4, "router": "language", "languages": ["en", "it"]}, "experts.languages: count is 4, and 2 are named"),
        ({"count": 1, "router": "language", "languages": ["en", "it"]}, "experts.languages: count is 1, and 2 are named"),
        ({"count": 2, "top": 2, "router": "language", "languages": ["en", "it"]}, "experts.router: the language alone decides"),
        ({"count": 2, "embedding": "x", "router": "language", "languages": ["en", "it"]}, "experts.router: the language alone decides"),
        ({"count": 2, "mean": True, "router": "language", "languages": ["en", "it"]}, "experts.router: the language alone decides"),
        ({"count": 2, "capacity": 1.0, "router": "language", "languages": ["en", "it"]}, "experts.router: the language alone decides"),
    ],
)
def test_options_that_do_not_fit(options, told):
    with pytest.raises(UserError, match=told):
        encoder(options)


def test_states_are_conditioned_on_what_a_head_finds():
    made = encoder(condition=Condition(blocks=[1], head="tokens"), condition_vocab=7)
    torch.manual_seed(5)
    head = TokenHead(DIM, 7).double()
    x, lengths = states(2, 6), torch.tensor([6, 6])
    found = made(x, lengths, ["block1", "output"], padded=False, head=head)
    first = made.blocks[0](x, None, None)[0]
    torch.testing.assert_close(found["block1"], first, rtol=0, atol=1e-12)  # a tap is what the head reads
    rest = first + made.feedback(head(first).softmax(-1))
    for block in made.blocks[1:]:
        rest = block(rest, None, None)[0]
    torch.testing.assert_close(found["output"], rest, rtol=0, atol=1e-12)
    with pytest.raises(UserError, match=r"condition.blocks: 3 has no block behind it; name blocks from 1 to 2"):
        encoder(condition=Condition(blocks=[3], head="tokens"), condition_vocab=7)


def test_a_batch_without_utterances_goes_through():
    """As a view that cuts pieces gives where all utterances are too short."""
    layer = ExpertFeedForward(6, 8, 0.1, 4, 2, capacity=1.0, router=Router(6, 4))
    output, logits = layer(torch.zeros(0, 5, 6, requires_grad=True))
    assert output.shape == (0, 5, 6) and logits.shape == (0, 5, 4)
    output.sum().backward()
    assert not layer.wide.weight.grad.any()
