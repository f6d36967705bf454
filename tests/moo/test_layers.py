from __future__ import annotations

import pytest
import torch
from torch import nn

from m2asr.moo.layers import conflicting, layers_of
from m2asr.moo.rows import GradientRows
from tests.moo.filled import gramian, noise


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Linear(3, 5)
        self.dropout = nn.Dropout()  # no parameters
        self.blocks = nn.ModuleList([nn.Linear(5, 5), nn.Linear(5, 5)])
        self.scale = nn.Parameter(torch.ones(2))


def test_layers_are_children_and_items_of_lists() -> None:
    net = Net()
    groups = layers_of({"net": net})
    sizes = {name: sum(param.numel() for param in group) for name, group in groups.items()}
    assert sizes == {"own": 2, "front": 20, "blocks.0": 30, "blocks.1": 30}
    assert sum(len(group) for group in groups.values()) == len(list(net.parameters()))


def test_layers_of_several_modules_are_told_apart() -> None:
    """A parameter that two modules share belongs to the first, so that columns divide the whole."""
    first, second = Net(), Net()
    second.front.weight = first.front.weight
    groups = layers_of({"a": first, "b": second})
    assert list(groups)[:2] == ["a.own", "a.front"] and [len(groups[name]) for name in ("a.front", "b.front")] == [2, 1]
    rows = GradientRows([*first.parameters(), *second.parameters()])
    columns = [rows.layout.columns_of(group) for group in groups.values()]
    assert [part.start for part in columns] == [0, *(part.stop for part in columns[:-1])] and columns[-1].stop == rows.layout.columns


def test_columns_divide_the_rows() -> None:
    net = Net()
    rows = GradientRows(list(net.parameters()))
    before = noise(rows, 3)
    columns = [rows.layout.columns_of(group) for group in layers_of({"net": net}).values()]
    assert [part.start for part in columns] == [0, *(part.stop for part in columns[:-1])] and columns[-1].stop == rows.layout.columns
    torch.testing.assert_close(gramian(rows, [0, 1, 2], groups=columns).sum(0), gramian(rows, [0, 1, 2])[0])
    rows.merge({0: 0.25, 1: 0.75}, into=2, columns=columns[1])
    expected = before[2] + 0.25 * before[0] + 0.75 * before[1]
    torch.testing.assert_close(rows.row(2)[columns[1]], expected[columns[1]])
    assert all(torch.equal(rows.row(2)[part], before[2][part]) for part in (columns[0], columns[2]))


def test_columns_of_strangers_are_refused() -> None:
    net = Net()
    with pytest.raises(ValueError, match="neighbours"):
        GradientRows(list(net.parameters())).layout.columns_of([net.front.weight, net.blocks[1].bias])


def test_one_negative_pair_makes_a_conflict() -> None:
    gramians = torch.stack([torch.ones(3, 3), torch.eye(3), torch.tensor([[1.0, 0, 0], [0, 1, -1e-9], [0, -1e-9, 1]])])
    assert conflicting(gramians).tolist() == [False, False, True]
    assert conflicting(torch.ones(2, 1, 1)).tolist() == [False, False]
