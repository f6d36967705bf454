from __future__ import annotations

import weakref

import pytest
import torch
from torch import Tensor, nn

from m2asr.moo.collectives import Collectives
from m2asr.moo.gramian import inner_products
from m2asr.moo.rows import GradientRows
from tests.moo.filled import fill, gramian, noise


class Net(nn.Module):
    """A small backbone with a convolution (channels last), a parameter that no loss uses, and two heads."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)
        self.linear = nn.Linear(5, 7)
        self.linear.weight = nn.Parameter(self.linear.weight.detach().T.contiguous().T)  # transposed in memory
        self.unused = nn.Parameter(torch.ones(3))
        self.heads = nn.ModuleList([nn.Linear(7, 2), nn.Linear(7, 3)])
        self.to(dtype)

    def backbone(self) -> list[nn.Parameter]:
        return [*self.conv.parameters(), *self.linear.parameters(), self.unused]

    def encode(self, x: Tensor) -> Tensor:
        return torch.tanh(self.linear(self.conv(x).mean((2, 3))))  # (B, 7)

    def loss(self, head: int, x: Tensor) -> Tensor:
        return self.heads[head](self.encode(x)).float().square().mean()


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def plain(net: Net, loss: Tensor) -> list[Tensor]:
    found = torch.autograd.grad(loss, net.backbone(), allow_unused=True)
    return [torch.zeros_like(param) if grad is None else grad for param, grad in zip(net.backbone(), found, strict=True)]


def assert_grads_equal(net: Net, expected: list[Tensor]) -> None:
    for param, grad in zip(net.backbone(), expected, strict=True):
        torch.testing.assert_close(param.grad, grad, rtol=0, atol=0)


def test_rows_hold_what_autograd_computes(net: Net, x: Tensor) -> None:
    expected = [plain(net, net.loss(head, x)) for head in range(2)]
    rows = GradientRows(net.backbone())
    for head in range(2):
        with rows.accumulate_into(head):
            net.loss(head, x).backward()
        assert all(param.grad is None for param in net.backbone())
    for head in range(2):
        rows.assign(head)
        assert_grads_equal(net, expected[head])
        assert net.unused.grad.tolist() == [0, 0, 0]


def test_backward_writes_in_place_and_adds(net: Net, x: Tensor) -> None:
    rows = GradientRows(net.backbone())
    with rows.accumulate_into(1):
        net.loss(0, x).backward()
    once = rows.row(1).clone()
    begin = rows.row(1).data_ptr()
    with rows.accumulate_into(1):
        pointers = [param.grad.data_ptr() for param in net.backbone()]
        net.loss(0, x).backward()
        assert pointers == [param.grad.data_ptr() for param in net.backbone()]
    assert begin == rows.row(1).data_ptr()
    assert all(begin <= pointer < begin + rows.row(1).nbytes for pointer in pointers)
    assert once.abs().sum() > 0 and torch.equal(rows.row(1), 2 * once)
    assert rows.row(0).abs().sum() == 0
    rows.drop([1])
    assert 1 not in rows and rows.row(1).abs().sum() == 0


def test_several_passes_in_a_block_give_the_same_as_several_blocks(net: Net, x: Tensor) -> None:
    """The first gradient of a row is copied, later ones are added."""
    rows = GradientRows(net.backbone())
    for head in range(2):
        with rows.accumulate_into(0):
            net.loss(head, x).backward()
        assert all(param.grad is None for param in net.backbone())
    with rows.accumulate_into(1):
        for head in range(2):
            net.loss(head, x).backward()
    assert torch.equal(rows.row(0), rows.row(1)) and rows.row(0).abs().sum() > 0


def test_a_new_row_is_zero_where_no_gradient_came(net: Net, x: Tensor) -> None:
    """Also between parameters, in memory that held other numbers before."""
    rows = GradientRows(net.backbone())
    for _ in range(3):
        dirty = torch.full((rows.layout.columns,), float("nan"))
        del dirty
        with rows.accumulate_into(0):
            net.loss(0, x).backward()
        assert rows.row(0).isfinite().all()
        assert rows.row(0).count_nonzero() <= sum(param.numel() for param in net.backbone()) - net.unused.numel()
        rows.drop([0])


def test_gradients_of_copies_are_those_of_the_parameters(net: Net, x: Tensor) -> None:
    """Parameters with a copy in another type, which may be used beside the parameter itself."""
    rows = GradientRows(net.backbone())
    weight, copy = net.linear.weight, net.linear.weight.detach().bfloat16().requires_grad_()

    def loss(head: int, copied: Tensor) -> Tensor:
        states = net.conv(x).mean((2, 3)) @ (copied.float() + weight).T + net.linear.bias
        return net.heads[head](states.tanh()).square().mean()

    expected = [plain(net, loss(head, weight.bfloat16())) for head in range(2)]
    for row, head in ((0, 0), (0, 1), (1, 0)):
        with rows.accumulate_into(row, {weight: copy}):
            loss(head, copy).backward()
        assert copy.grad is None and weight.grad is None
    for row, wanted in ((1, expected[0]), (0, [one + two for one, two in zip(*expected, strict=True)])):
        rows.assign(row)
        for param, grad in zip(net.backbone(), wanted, strict=True):
            torch.testing.assert_close(param.grad, grad, rtol=1e-6, atol=1e-8)


def test_rows_of_zeros_take_no_memory(net: Net, x: Tensor) -> None:
    """They count as zeros all the same, as those of objectives without a target do."""
    rows = GradientRows(net.backbone())
    with rows.accumulate_into(1):
        net.loss(0, x).backward()
    products = gramian(rows, [0, 1, 2])[0]
    assert products[1, 1] > 0 and products.count_nonzero() == 1
    rows.merge({0: 1.0, 1: 0.5, 2: 2.0}, into=3)
    assert set(rows._held) == {1, 3} and torch.equal(rows.row(3), 0.5 * rows.row(1))
    memory = weakref.ref(rows.row(1).untyped_storage())
    rows.drop([1])
    assert memory() is None and rows.row(1).count_nonzero() == 0


def test_gradients_have_the_memory_layout_of_the_parameters(net: Net) -> None:
    rows = GradientRows(net.backbone())
    rows.assign(0)
    assert not net.conv.weight.is_contiguous() and not net.linear.weight.is_contiguous()
    for param in net.backbone():
        assert param.grad.stride() == param.stride() and param.grad.data_ptr() % 16 == 0


def test_heads_keep_their_own_gradient(net: Net, x: Tensor) -> None:
    expected = torch.autograd.grad(net.loss(1, x), list(net.heads[1].parameters()))
    rows = GradientRows(net.backbone())
    with rows.accumulate_into(0):
        net.loss(1, x).backward()
    for param, grad in zip(net.heads[1].parameters(), expected, strict=True):
        assert torch.equal(param.grad, grad)


def test_shared_encoding_needs_one_forward_pass(net: Net, x: Tensor) -> None:
    expected = [plain(net, net.loss(head, x)) for head in range(2)]
    rows = GradientRows(net.backbone())
    encoded = net.encode(x)
    for head in range(2):
        with rows.accumulate_into(head):
            net.heads[head](encoded).square().mean().backward(retain_graph=head == 0)
    for head in range(2):
        rows.assign(head)
        assert_grads_equal(net, expected[head])


def test_bfloat16_autocast_gives_float32_rows(net: Net, x: Tensor) -> None:
    rows = GradientRows(net.backbone())
    with torch.autocast("cpu", torch.bfloat16):
        expected = plain(net, net.loss(0, x))
        with rows.accumulate_into(0):
            net.loss(0, x).backward()
        squares = gramian(rows, [0])
    rows.assign(0)
    assert rows.row(0).dtype == torch.float32
    assert_grads_equal(net, expected)
    torch.testing.assert_close(squares[0, 0, 0], rows.row(0).double().square().sum(), rtol=1e-12, atol=0)


def test_float64_parameters_get_float64_rows(x: Tensor) -> None:
    net = Net(torch.float64)
    rows = GradientRows(net.backbone())
    with rows.accumulate_into(0):
        net.loss(0, x.double()).backward()
    assert rows.row(0).dtype == torch.float64 and rows.row(0).abs().sum() > 0


def test_replaced_gradient_is_noticed(net: Net, x: Tensor) -> None:
    rows = GradientRows(net.backbone())
    rows.row(0)  # which has memory from now on
    with pytest.raises(RuntimeError, match="zero_grad"), rows.accumulate_into(0):
        net.zero_grad()
        net.loss(0, x).backward()
    assert all(param.grad is None for param in net.backbone())


@pytest.mark.filterwarnings("ignore:Using backward")
def test_a_gradient_with_a_graph_is_noticed(net: Net, x: Tensor) -> None:
    rows = GradientRows(net.backbone())
    with pytest.raises(RuntimeError, match="create_graph"), rows.accumulate_into(0):
        net.loss(0, x).backward(create_graph=True)
    assert all(param.grad is None for param in net.backbone())


@pytest.mark.parametrize("params", [[], [torch.zeros(2, dtype=torch.bfloat16)], [torch.zeros(2), torch.zeros(2, dtype=torch.float64)]])
def test_parameters_must_be_of_one_type(params: list[Tensor]) -> None:
    with pytest.raises(ValueError, match="one type"):
        GradientRows([nn.Parameter(param) for param in params])


def test_frozen_and_repeated_parameters_take_no_memory(net: Net) -> None:
    size = GradientRows(net.backbone()).layout.columns
    net.unused.requires_grad_(False)
    assert GradientRows(net.backbone() + net.backbone()).layout.columns == size - 16


def test_a_row_takes_memory_when_something_is_put_into_it() -> None:
    rows = GradientRows([nn.Parameter(torch.zeros(1000, 1000))])
    assert 0 not in rows and torch.equal(gramian(rows, [0]), torch.zeros(1, 1, 1, dtype=torch.float64)) and 0 not in rows
    assert rows.row(0).nbytes == 4_000_000 and 0 in rows


def test_inner_products_are_exact_where_float32_sums_are_not() -> None:
    rows = GradientRows([nn.Parameter(torch.zeros(300_001))])
    values = 1 + 0.1 * torch.randn(4, 300_001, generator=torch.Generator().manual_seed(0))
    fill(rows, values, range(4))
    exact = values.double() @ values.double().T
    torch.testing.assert_close(gramian(rows, [0, 1, 2, 3])[0], exact, rtol=1e-12, atol=0)
    torch.testing.assert_close(gramian(rows, [0, 1], [2, 3])[0], exact[:2, 2:], rtol=1e-12, atol=0)
    torch.testing.assert_close(gramian(rows, [3, 0], [1])[0], exact[[3, 0]][:, [1]], rtol=1e-12, atol=0)


@pytest.mark.parametrize("width", [1 << 10, 1 << 16])
def test_both_ways_of_multiplying_agree(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of GPUs and the one of CPUs, in chunks of any width."""
    from m2asr.moo import gramian as module

    monkeypatch.setitem(module.CHUNK, "cpu", width)
    values = torch.randn(3, 5000, generator=torch.Generator().manual_seed(0))
    known = [(0, 0, 1), (1, 2, 2)]
    sums = [torch.zeros(2, dtype=torch.float64) for _ in range(2)]
    for total, multiply in zip(sums, (module._by_dots(known), module._by_matrix(known, values.device)), strict=True):
        multiply(values.double(), total)
    torch.testing.assert_close(*sums, rtol=1e-12, atol=1e-12)
    named = {"a": values[0], "b": values[1], "c": values[2]}
    found = inner_products(named, [("a", "b"), ("c", "c"), ("a", "absent")], [slice(0, 1000), slice(1000, None)])
    torch.testing.assert_close(found.sum(0), torch.cat([sums[0], torch.zeros(1, dtype=torch.float64)]), rtol=1e-12, atol=1e-12)


def test_merge_adds_the_weighted_sum() -> None:
    rows = GradientRows([nn.Parameter(torch.zeros(40))])
    values = noise(rows, 4)
    rows.row(1)[:] = float("nan")  # factor 0: not even looked at
    rows.merge({0: 0.2, 1: 0.0, 2: 0.8, "absent": 1.0}, into=3)
    torch.testing.assert_close(rows.row(3), values[3] + 0.2 * values[0] + 0.8 * values[2])
    rows.merge({0: 1.0}, into="new", columns=slice(8, 16))
    assert torch.equal(rows.row("new")[8:16], values[0][8:16]) and rows.row("new").count_nonzero() == 8
    assert torch.equal(rows.row(0), values[0]) and "absent" not in rows


def test_optimizer_steps_with_an_assigned_row(net: Net, x: Tensor) -> None:
    twin = Net()
    twin.load_state_dict(net.state_dict())
    rows = GradientRows(net.backbone())
    for head in range(2):
        with rows.accumulate_into(head):
            net.loss(head, x).backward()
    rows.merge({0: 1.0, 1: 1.0}, into=2)
    rows.assign(2)
    (twin.loss(0, x) + twin.loss(1, x)).backward()
    for model in (net, twin):
        nn.utils.clip_grad_norm_(model.backbone(), 0.01)
        torch.optim.SGD(model.parameters(), lr=1.0).step()
    for ours, plain_sum in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, plain_sum, rtol=1e-6, atol=1e-7)


def test_a_row_that_is_summed_again_sends_what_is_new_alone() -> None:
    """Of what other processes count, which they have by then."""
    sent = []

    class First(Collectives):
        rank, world = 0, 2

        def reduce_scatter(self, row: Tensor, empty: bool = False) -> None:
            sent.append(row.clone())

    rows = GradientRows([nn.Parameter(torch.zeros(64))], First())
    rows.row(0).fill_(1.0)
    rows.reduce(0)
    rows.reduce(0)
    assert sent[0].tolist() == [1.0] * 64 and sent[1].tolist() == [1.0] * 32 + [0.0] * 32
