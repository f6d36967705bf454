from __future__ import annotations

import weakref

import pytest
import torch
from torch import Tensor, nn

from m2asr.moo.collectives import Collectives
from m2asr.moo.gradients import GradientBuffers, scale_gradient
from tests.moo.filled import fill, held, noise


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
    buffers = GradientBuffers(net.backbone(), rows=2)
    for head in range(2):
        with buffers.accumulate_into(head):
            net.loss(head, x).backward()
        assert all(param.grad is None for param in net.backbone())
    for head in range(2):
        buffers.assign(head)
        assert_grads_equal(net, expected[head])
        assert net.unused.grad.tolist() == [0, 0, 0]


def test_backward_writes_in_place_and_adds(net: Net, x: Tensor) -> None:
    buffers = GradientBuffers(net.backbone(), rows=2)
    with buffers.accumulate_into(1):
        net.loss(0, x).backward()
    once = buffers.row(1).clone()
    begin = buffers.row(1).data_ptr()
    with buffers.accumulate_into(1):
        pointers = [param.grad.data_ptr() for param in net.backbone()]
        net.loss(0, x).backward()
        assert pointers == [param.grad.data_ptr() for param in net.backbone()]
    assert begin == buffers.row(1).data_ptr()
    assert all(begin <= pointer < begin + buffers.row(1).nbytes for pointer in pointers)
    assert once.abs().sum() > 0 and torch.equal(buffers.row(1), 2 * once)
    assert buffers.row(0).abs().sum() == 0
    buffers.zero([1])
    assert held(buffers).abs().sum() == 0


def test_several_passes_in_a_block_give_the_same_as_several_blocks(net: Net, x: Tensor) -> None:
    """The first gradient of a row is copied, later ones are added."""
    buffers = GradientBuffers(net.backbone(), rows=2)
    for head in range(2):
        with buffers.accumulate_into(0):
            net.loss(head, x).backward()
        assert all(param.grad is None for param in net.backbone())
    with buffers.accumulate_into(1):
        for head in range(2):
            net.loss(head, x).backward()
    assert torch.equal(buffers.row(0), buffers.row(1)) and buffers.row(0).abs().sum() > 0


def test_a_new_row_is_zero_where_no_gradient_came(net: Net, x: Tensor) -> None:
    """Also between parameters, in memory that held other numbers before."""
    buffers = GradientBuffers(net.backbone(), rows=2)
    for _ in range(3):
        dirty = torch.full((buffers.columns,), float("nan"))
        del dirty
        with buffers.accumulate_into(0):
            net.loss(0, x).backward()
        assert buffers.row(0).isfinite().all()
        assert buffers.row(0).count_nonzero() <= sum(param.numel() for param in net.backbone()) - net.unused.numel()
        buffers.zero([0])


def test_gradients_of_copies_are_those_of_the_parameters(net: Net, x: Tensor) -> None:
    """Parameters with a copy in another type, which may be used beside the parameter itself."""
    buffers = GradientBuffers(net.backbone(), rows=2)
    weight, copy = net.linear.weight, net.linear.weight.detach().bfloat16().requires_grad_()

    def loss(head: int, copied: Tensor) -> Tensor:
        states = net.conv(x).mean((2, 3)) @ (copied.float() + weight).T + net.linear.bias
        return net.heads[head](states.tanh()).square().mean()

    expected = [plain(net, loss(head, weight.bfloat16())) for head in range(2)]
    for row, head in ((0, 0), (0, 1), (1, 0)):
        with buffers.accumulate_into(row, {weight: copy}):
            loss(head, copy).backward()
        assert copy.grad is None and weight.grad is None
    for row, wanted in ((1, expected[0]), (0, [one + two for one, two in zip(*expected, strict=True)])):
        buffers.assign(row)
        for param, grad in zip(net.backbone(), wanted, strict=True):
            torch.testing.assert_close(param.grad, grad, rtol=1e-6, atol=1e-8)


def test_rows_of_zeros_take_no_memory(net: Net, x: Tensor) -> None:
    """They count as zeros all the same, as those of objectives without a target do."""
    buffers = GradientBuffers(net.backbone(), rows=4)
    with buffers.accumulate_into(1):
        net.loss(0, x).backward()
    gramian = buffers.gramian([0, 1, 2])
    assert gramian[1, 1] > 0 and gramian.count_nonzero() == 1
    assert buffers.finite([0, 1, 2]) == [True, True, True]
    buffers.merge([0, 1, 2], [1.0, 0.5, 2.0], out_row=3)
    assert set(buffers._held) == {1, 3} and torch.equal(buffers.row(3), 0.5 * buffers.row(1))
    buffers.merge([0, 2], [1.0, 1.0], out_row=3)
    assert buffers.row(3).count_nonzero() == 0
    memory = weakref.ref(buffers.row(1).untyped_storage())
    buffers.zero([1])
    assert memory() is None and buffers.row(1).count_nonzero() == 0


def test_gradients_have_the_memory_layout_of_the_parameters(net: Net) -> None:
    buffers = GradientBuffers(net.backbone(), rows=1)
    buffers.assign(0)
    assert not net.conv.weight.is_contiguous() and not net.linear.weight.is_contiguous()
    for param in net.backbone():
        assert param.grad.stride() == param.stride() and param.grad.data_ptr() % 16 == 0


def test_heads_keep_their_own_gradient(net: Net, x: Tensor) -> None:
    expected = torch.autograd.grad(net.loss(1, x), list(net.heads[1].parameters()))
    buffers = GradientBuffers(net.backbone(), rows=1)
    with buffers.accumulate_into(0):
        net.loss(1, x).backward()
    for param, grad in zip(net.heads[1].parameters(), expected, strict=True):
        assert torch.equal(param.grad, grad)


def test_shared_encoding_needs_one_forward_pass(net: Net, x: Tensor) -> None:
    expected = [plain(net, net.loss(head, x)) for head in range(2)]
    buffers = GradientBuffers(net.backbone(), rows=2)
    encoded = net.encode(x)
    for head in range(2):
        with buffers.accumulate_into(head):
            net.heads[head](encoded).square().mean().backward(retain_graph=head == 0)
    for head in range(2):
        buffers.assign(head)
        assert_grads_equal(net, expected[head])


def test_bfloat16_autocast_gives_float32_rows(net: Net, x: Tensor) -> None:
    buffers = GradientBuffers(net.backbone(), rows=2)
    with torch.autocast("cpu", torch.bfloat16):
        expected = plain(net, net.loss(0, x))
        with buffers.accumulate_into(0):
            net.loss(0, x).backward()
        gramian = buffers.gramian([0])
    buffers.assign(0)
    assert buffers.row(0).dtype == torch.float32
    assert_grads_equal(net, expected)
    torch.testing.assert_close(gramian[0, 0], buffers.row(0).double().square().sum(), rtol=1e-12, atol=0)


def test_float64_parameters_get_float64_rows(x: Tensor) -> None:
    net = Net(torch.float64)
    buffers = GradientBuffers(net.backbone(), rows=1)
    with buffers.accumulate_into(0):
        net.loss(0, x.double()).backward()
    assert buffers.row(0).dtype == torch.float64 and buffers.row(0).abs().sum() > 0


def test_replaced_gradient_is_noticed(net: Net, x: Tensor) -> None:
    buffers = GradientBuffers(net.backbone(), rows=1)
    buffers.row(0)  # which has memory from now on
    with pytest.raises(RuntimeError, match="zero_grad"), buffers.accumulate_into(0):
        net.zero_grad()
        net.loss(0, x).backward()
    assert all(param.grad is None for param in net.backbone())


@pytest.mark.filterwarnings("ignore:Using backward")
def test_a_gradient_with_a_graph_is_noticed(net: Net, x: Tensor) -> None:
    buffers = GradientBuffers(net.backbone(), rows=1)
    with pytest.raises(RuntimeError, match="create_graph"), buffers.accumulate_into(0):
        net.loss(0, x).backward(create_graph=True)
    assert all(param.grad is None for param in net.backbone())


@pytest.mark.parametrize("params", [[], [torch.zeros(2, dtype=torch.bfloat16)], [torch.zeros(2), torch.zeros(2, dtype=torch.float64)]])
def test_parameters_must_be_of_one_type(params: list[Tensor]) -> None:
    with pytest.raises(ValueError, match="one type"):
        GradientBuffers([nn.Parameter(param) for param in params], rows=1)


def test_frozen_and_repeated_parameters_take_no_memory(net: Net) -> None:
    size = GradientBuffers(net.backbone(), rows=3).bytes
    net.unused.requires_grad_(False)
    assert GradientBuffers(net.backbone() + net.backbone(), rows=3).bytes == size - 3 * 16 * 4


def test_gramian_is_exact_where_float32_sums_are_not() -> None:
    buffers = GradientBuffers([nn.Parameter(torch.zeros(300_001))], rows=4)
    rows = 1 + 0.1 * torch.randn(4, 300_001, generator=torch.Generator().manual_seed(0))
    fill(buffers, rows)
    exact = rows.double() @ rows.double().T
    torch.testing.assert_close(buffers.gramian([0, 1, 2, 3]), exact, rtol=1e-12, atol=0)
    torch.testing.assert_close(buffers.gramian([0, 1], [2, 3]), exact[:2, 2:], rtol=1e-12, atol=0)
    torch.testing.assert_close(buffers.gramian([3, 0], [1]), exact[[3, 0]][:, [1]], rtol=1e-12, atol=0)


def test_merge_is_the_weighted_sum_and_may_overwrite_a_row() -> None:
    buffers = GradientBuffers([nn.Parameter(torch.zeros(40))], rows=4)
    rows = noise(buffers)
    weights = torch.tensor([0.2, 0.0, 0.8], dtype=torch.float64)
    buffers.row(1)[:] = float("nan")  # weight 0: not even looked at
    buffers.merge([0, 1, 2], weights, out_row=3)
    torch.testing.assert_close(buffers.row(3), 0.2 * rows[0] + 0.8 * rows[2])
    buffers.merge([0, 2], [0.5, 2.0], out_row=2)
    torch.testing.assert_close(buffers.row(2), 0.5 * rows[0] + 2 * rows[2])
    assert torch.equal(buffers.row(0), rows[0])


def test_optimizer_steps_with_an_assigned_row(net: Net, x: Tensor) -> None:
    twin = Net()
    twin.load_state_dict(net.state_dict())
    buffers = GradientBuffers(net.backbone(), rows=3)
    for head in range(2):
        with buffers.accumulate_into(head):
            net.loss(head, x).backward()
    buffers.merge([0, 1], [1.0, 1.0], out_row=2)
    buffers.assign(2)
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

        def reduce_scatter(self, row: Tensor) -> None:
            sent.append(row.clone())

    buffers = GradientBuffers([nn.Parameter(torch.zeros(64))], rows=1, group=First())
    buffers.row(0).fill_(1.0)
    buffers.reduce(0)
    buffers.reduce(0)
    assert sent[0].tolist() == [1.0] * 64 and sent[1].tolist() == [1.0] * 32 + [0.0] * 32


def test_size_is_printed() -> None:
    buffers = GradientBuffers([nn.Parameter(torch.zeros(1000, 1000))], rows=3)
    assert buffers.bytes == 12_000_000
    assert str(buffers) == "gradient buffers: 3 x 1,000,000 float32 = 12.0 MB"


@pytest.mark.parametrize("factor", [1.0, 0.3, 0.0, torch.tensor(0.3, dtype=torch.float64), torch.rand(4, 1)])
def test_scale_gradient_is_the_identity_going_forward(factor: float | Tensor) -> None:
    x = torch.randn(4, 5, requires_grad=True)
    y = scale_gradient(x, factor)
    assert torch.equal(y, x)
    torch.testing.assert_close(torch.autograd.grad(y.square().sum(), x)[0], factor * 2 * x.detach(), check_dtype=False)


def test_scale_gradient_by_zero_stops_what_is_not_finite() -> None:
    x = torch.zeros(2, requires_grad=True)
    (scale_gradient(x, 0.0).sqrt().sum() + x.sum()).backward()  # d sqrt / dx at 0 is infinite
    assert x.grad.tolist() == [1, 1]


def test_one_backward_serves_backbone_and_heads(net: Net, x: Tensor) -> None:
    weights = [0.25, 0.75]
    expected = [sum(parts) for parts in zip(*([w * g for g in plain(net, net.loss(i, x))] for i, w in enumerate(weights)), strict=True)]
    heads = [torch.autograd.grad(net.loss(i, x), list(net.heads[i].parameters())) for i in range(2)]
    encoded = net.encode(x)
    sum(net.heads[i](scale_gradient(encoded, weights[i])).square().mean() for i in range(2)).backward()
    for param, grad in zip(net.backbone()[:-1], expected, strict=False):
        torch.testing.assert_close(param.grad, grad)
    for i in range(2):
        for param, grad in zip(net.heads[i].parameters(), heads[i], strict=True):
            assert torch.equal(param.grad, grad)


def test_finite_tells_rows_with_nan_or_infinity_and_no_others(net: Net) -> None:
    buffers = GradientBuffers(net.backbone(), rows=5)
    buffers.row(0)[:] = 3e38  # finite, though the sum of its entries is not
    for row, value in enumerate((float("nan"), float("inf"), -float("inf")), start=1):
        buffers.row(row)[row] = value
    assert buffers.finite([0, 1, 2, 3, 4]) == [True, False, False, False, True]
    assert buffers.finite([4, 2]) == [True, False]
