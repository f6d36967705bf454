"""Feed-forward networks of experts on sorted rows: equal to a loop over experts, in every number type and on both paths."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from m2asr.models.grouped import Segments, by_grouped_mm, grouped_feed_forward
from m2asr.models.layers import Dropout

EXPERTS, DIM, HIDDEN = 5, 8, 16
NONE = Dropout(0.0)
ROUTES = {
    "random": torch.randint(EXPERTS, (97,), generator=torch.Generator().manual_seed(1)),
    "some without an expert": torch.randint(EXPERTS + 1, (97,), generator=torch.Generator().manual_seed(2)),
    "experts without rows": torch.tensor([3, 1, 1, 3, 3, 1, 1]),
    "more experts than rows": torch.tensor([4, 0]),
    "a single expert": torch.full((33,), 2),
    "all without an expert": torch.full((6,), EXPERTS),
    "no rows": torch.empty(0, dtype=torch.long),
}


def leaves(rows: int, dtype: torch.dtype = torch.float64, count: int = EXPERTS, dim: int = DIM, hidden: int = HIDDEN) -> list[Tensor]:
    """Rows (N, D) and the weights of all experts."""
    generator = torch.Generator().manual_seed(0)
    shapes = (rows, dim), (count, hidden, dim), (count, hidden), (count, dim, hidden), (count, dim)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]


def loop(x: Tensor, experts: Tensor, wide: Tensor, wide_bias: Tensor, narrow: Tensor, narrow_bias: Tensor) -> Tensor:
    """The same without dropout, one expert after the other on all rows."""
    output = 0 * (x + sum(weight.sum() for weight in (wide, wide_bias, narrow, narrow_bias)))
    for expert in range(len(wide)):
        mine = F.linear(F.silu(F.linear(x, wide[expert], wide_bias[expert])), narrow[expert], narrow_bias[expert])
        output = torch.where((experts == expert)[:, None], mine, output)
    return output


def with_gradients(output: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    """The output, and the gradients of a sum that weights all its entries differently."""
    factors = torch.randn(output.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return [output, *torch.autograd.grad((output * factors.to(output.dtype)).sum(), tensors)]


@pytest.mark.parametrize("route", ROUTES)
def test_equals_a_loop_over_experts(route: str) -> None:
    experts = ROUTES[route]
    tensors = leaves(len(experts))
    results = with_gradients(grouped_feed_forward(tensors[0], experts, *tensors[1:], NONE), tensors)
    for result, reference in zip(results, with_gradients(loop(tensors[0], experts, *tensors[1:]), tensors), strict=True):
        torch.testing.assert_close(result, reference, rtol=1e-12, atol=1e-12)
    output, of_rows, *of_weights = results
    assert not output[experts == EXPERTS].any() and not of_rows[experts == EXPERTS].any()  # exactly
    without = [expert for expert in range(EXPERTS) if expert not in experts]
    assert not any(gradient[without].any() for gradient in of_weights)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.bfloat16, 0.01)])
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("layer", [grouped_feed_forward, by_grouped_mm])
def test_both_paths_are_right_in_short_numbers(layer, route: str, dtype: torch.dtype, error: float) -> None:
    """The path of a GPU runs on the CPU here."""
    experts = ROUTES[route]
    tensors = leaves(len(experts), dtype)
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    results = with_gradients(layer(tensors[0], experts, *tensors[1:], NONE), tensors)
    for result, reference in zip(results, with_gradients(loop(exact[0], experts, *exact[1:]), exact), strict=True):
        assert result.dtype == dtype
        assert (result - reference).norm() <= error * reference.norm()


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_gradients_are_those_of_finite_differences(rate: float) -> None:
    experts = torch.tensor([2, 3, 0, 2])
    dropout = Dropout(rate)

    def seeded(x: Tensor, *weights: Tensor) -> Tensor:
        torch.manual_seed(0)
        return grouped_feed_forward(x, experts, *weights, dropout)

    assert torch.autograd.gradcheck(seeded, leaves(len(experts), count=3, dim=2, hidden=4))


@pytest.mark.parametrize("layer", [grouped_feed_forward, by_grouped_mm])
def test_dropout_keeps_the_mean_of_hidden_channels_and_follows_the_seed(layer) -> None:
    """The second layer is the identity, so that the output is the hidden layer."""
    rows, wide, *_ = leaves(3000, torch.float32, count=3, hidden=DIM)
    eye, zeros, experts = torch.eye(DIM).repeat(3, 1, 1), torch.zeros(3, DIM), torch.arange(3000) % 3
    weights = wide, zeros, eye, zeros
    torch.manual_seed(5)
    first = layer(rows, experts, *weights, Dropout(0.25))
    torch.manual_seed(5)
    assert torch.equal(first, layer(rows, experts, *weights, Dropout(0.25)))
    assert not torch.equal(first, layer(rows, experts, *weights, Dropout(0.25)))
    whole = layer(rows, experts, *weights, Dropout(0.25).eval())
    torch.testing.assert_close(first, torch.where(first == 0, 0, whole * 256 / 192))
    dropped = (first == 0).double()
    for expert in range(3):
        assert (dropped[experts == expert].mean(0) - 0.25).abs().max() < 0.06


def test_permuted_rows_give_permuted_outputs() -> None:
    experts = ROUTES["some without an expert"]
    x, *weights = leaves(len(experts))
    order = torch.randperm(len(experts), generator=torch.Generator().manual_seed(0))
    output = grouped_feed_forward(x, experts, *weights, NONE)
    torch.testing.assert_close(grouped_feed_forward(x[order], experts[order], *weights, NONE), output[order], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layer", [grouped_feed_forward, by_grouped_mm])
def test_rows_without_an_expert_may_hold_anything(layer) -> None:
    experts = torch.tensor([0, EXPERTS, 1])
    x, *weights = leaves(3, torch.float32)
    rows = x.detach().clone()
    rows[1] = torch.nan
    rows.requires_grad_()
    results = with_gradients(layer(rows, experts, *weights, NONE), [rows, *weights])
    assert all(result.isfinite().all() for result in results)
    assert not results[0][1].any() and not results[1][1].any()


def test_autocast_multiplies_in_bfloat16() -> None:
    """From float32 weights and from copies of them that are bfloat16 already, as the trainer makes."""
    experts = ROUTES["random"]
    tensors = leaves(len(experts), torch.float32)
    copies = [tensor.detach().bfloat16().requires_grad_() for tensor in tensors]
    expected = with_gradients(grouped_feed_forward(copies[0], experts, *copies[1:], NONE), copies)
    for inputs in (tensors, copies, [tensors[0], *copies[1:]]):
        with torch.autocast("cpu", torch.bfloat16):
            output = grouped_feed_forward(inputs[0], experts, *inputs[1:], NONE)
        results = with_gradients(output, inputs)
        assert [result.dtype for result in results] == [torch.bfloat16, *(leaf.dtype for leaf in inputs)]
        for result, reference in zip(results, expected, strict=True):
            assert torch.equal(result, reference.to(result.dtype))


def test_works_without_gradients() -> None:
    experts = ROUTES["random"]
    x, *weights = leaves(len(experts))
    expected = grouped_feed_forward(x, experts, *weights, NONE)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            output = grouped_feed_forward(x, experts, *weights, NONE)
        assert not output.requires_grad and torch.equal(output, expected)


def test_a_second_derivative_is_refused() -> None:
    x, *weights = leaves(4)
    output = grouped_feed_forward(x, torch.tensor([0, 1, 1, 4]), *weights, NONE)
    (gradient,) = torch.autograd.grad(output.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("expert", [EXPERTS + 1, 300, -1])
def test_an_expert_that_is_not_there_is_refused(expert: int) -> None:
    x, *weights = leaves(2)
    with pytest.raises(ValueError):
        grouped_feed_forward(x, torch.tensor([0, expert]), *weights, NONE)


def test_weights_of_other_sizes_are_refused() -> None:
    x, wide, wide_bias, narrow, narrow_bias = leaves(2)
    for weights in ((wide, wide_bias, narrow[:, :4], narrow_bias), (wide, wide_bias[:3], narrow, narrow_bias)):
        with pytest.raises(ValueError, match="do not fit"):
            grouped_feed_forward(x, torch.tensor([0, 1]), *weights, NONE)


def test_slots_are_aligned_and_keep_the_order() -> None:
    """Aligned numbers of rows are few different ones, each of which costs oneDNN a kernel."""
    experts = torch.tensor([1, 3, 0, 1, 3, 1, 3])
    segments = Segments.of(experts, 3, 4)
    assert segments.sizes == [4, 4, 0, 3]
    assert segments.slots.tolist() == [4, 8, 0, 5, 9, 6, 10]


class Operators(TorchDispatchMode):
    """Remembers the names of operators and the entries of their results."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.entries: list[int] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.names.append(str(func))
        if isinstance(result, Tensor):
            self.entries.append(result.numel())
        return result


def test_a_gpu_never_waits_for_numbers_of_rows() -> None:
    experts = ROUTES["some without an expert"]
    tensors = leaves(len(experts), torch.float32)
    with Operators() as operators:
        with_gradients(by_grouped_mm(tensors[0], experts, *tensors[1:], Dropout(0.1)), tensors)
    assert any("grouped_mm" in name for name in operators.names)
    waits = "_local_scalar_dense", "nonzero", "bincount", "unique", "repeat_interleave", "masked_select"
    assert not [name for name in operators.names if any(wait in name for wait in waits)]


def held(layer, tensors: list[Tensor]) -> int:
    """Bytes that a backward pass needs beside its leaves."""
    storages = {}

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer().sum()
    return sum(size for place, size in storages.items() if place not in {t.untyped_storage().data_ptr() for t in tensors})


@pytest.mark.parametrize(("dtype", "share"), [(torch.float32, 1.0), (torch.bfloat16, 1.2)])
def test_keeps_no_more_memory_than_a_dense_network(dtype: torch.dtype, share: float) -> None:
    dim, hidden, rows = 16, 64, 1000
    dense = nn.Sequential(nn.Identity(), nn.Linear(dim, hidden), nn.SiLU(), Dropout(0.1), nn.Linear(hidden, dim)).to(dtype)
    x = torch.randn(rows, dim).to(dtype).requires_grad_()
    weights = [torch.randn(shape).to(dtype).requires_grad_() for shape in ((8, hidden, dim), (8, hidden), (8, dim, hidden), (8, dim))]
    ours = held(lambda: grouped_feed_forward(x, torch.arange(rows) % 8, *weights, Dropout(0.1)), [x, *weights])
    theirs = held(lambda: dense(x.clone()), list(dense.parameters()))
    assert 0.5 * theirs < ours <= share * theirs


def test_the_gradient_of_all_weights_is_made_once() -> None:
    """Autograd of `wide[expert]`, as in the loop, makes one of all experts for each of them."""
    experts = ROUTES["random"]
    tensors = leaves(len(experts))
    made = []
    for output in (grouped_feed_forward(tensors[0], experts, *tensors[1:], NONE), loop(tensors[0], experts, *tensors[1:])):
        with Operators() as operators:
            torch.autograd.grad(output.sum(), tensors)
        made.append(operators.entries.count(EXPERTS * HIDDEN * DIM))
    assert made[0] == 2 and made[1] >= 2 * EXPERTS
