from __future__ import annotations

import pytest
import torch
from torch import nn

from m2asr.moo.gradients import GradientBuffers
from m2asr.moo.layers import conflicting, layers_of
from tests.moo.filled import held, noise


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Linear(3, 5)
        self.dropout = nn.Dropout()  # no parameters
        self.blocks = nn.ModuleList([nn.Linear(5, 5), nn.Linear(5, 5)])
        self.scale = nn.Parameter(torch.ones(2))


def test_layers_are_children_and_items_of_lists() -> None:
    net = Net()
    groups = layers_of(net)
    sizes = {name: sum(param.numel() for param in group) for name, group in groups.items()}
    assert sizes == {"own": 2, "front": 20, "blocks.0": 30, "blocks.1": 30}
    assert sum(len(group) for group in groups.values()) == len(list(net.parameters()))


def test_columns_divide_the_buffers() -> None:
    net = Net()
    buffers = GradientBuffers(list(net.parameters()), rows=3)
    noise(buffers)
    columns = [buffers.columns_of(group) for group in layers_of(net).values()]
    assert [one.start for one in columns] == [0, *(one.stop for one in columns[:-1])] and columns[-1].stop == buffers.columns
    parts = buffers.gramians([0, 1, 2], None, columns)
    torch.testing.assert_close(parts.sum(0), buffers.gramian([0, 1, 2]))
    before = held(buffers)
    buffers.merge([0, 1], [0.25, 0.75], 2, columns[1])
    torch.testing.assert_close(buffers.row(2)[columns[1]], 0.25 * before[0, columns[1]] + 0.75 * before[1, columns[1]])
    assert torch.equal(buffers.row(2)[columns[0]], before[2, columns[0]]) and torch.equal(
        buffers.row(2)[columns[2]], before[2, columns[2]]
    )


def test_columns_of_strangers_are_refused() -> None:
    net = Net()
    buffers = GradientBuffers(list(net.parameters()), rows=1)
    with pytest.raises(ValueError, match="neighbours"):
        buffers.columns_of([net.front.weight, net.blocks[1].bias])


def test_one_negative_pair_makes_a_conflict() -> None:
    gramians = torch.stack([torch.ones(3, 3), torch.eye(3), torch.tensor([[1.0, 0, 0], [0, 1, -1e-9], [0, -1e-9, 1]])])
    assert conflicting(gramians).tolist() == [False, False, True]
    assert conflicting(torch.ones(2, 1, 1)).tolist() == [False, False]
