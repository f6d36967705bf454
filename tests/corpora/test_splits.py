from __future__ import annotations

import random

from m2asr.corpora.splits import split_groups


def test_linked_items_stay_together_whatever_the_order() -> None:
    links = [["d", "c"], ["a", "b"], ["x"], ["c", "b"], ["p", "q", "r"], ["r", "s"], *([str(n)] for n in range(200))]
    parts = split_groups(links, 70, 80)
    assert len({parts[item] for item in "abcd"}) == 1 and len({parts[item] for item in "pqrs"}) == 1
    for seed in range(5):
        mixed = [random.Random(seed).sample(link, len(link)) for link in links]
        random.Random(seed).shuffle(mixed)
        assert split_groups(mixed, 70, 80) == parts


def test_parts_have_about_their_share() -> None:
    parts = list(split_groups([[f"item{n}"] for n in range(5000)], 70, 80).values())
    assert [round(parts.count(part) / 5000, 1) for part in ("train", "dev", "test")] == [0.7, 0.1, 0.2]


def test_more_items_leave_the_others_where_they_are() -> None:
    few = split_groups([[f"item{n}"] for n in range(50)], 70, 80)
    many = split_groups([[f"item{n}"] for n in range(500)], 70, 80)
    assert {item: many[item] for item in few} == few
