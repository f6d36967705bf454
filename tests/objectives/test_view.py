"""Views: which states a mask covers, what names a view's random numbers, and how many frames pass through the encoder."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from m2asr.objectives.view import Cut, Mask, View, ViewOptions, view_of

LENGTHS = np.array([60, 33, 5, 1, 0])


def drawn(mask: Mask, lengths: np.ndarray = LENGTHS, size: int = 64, seed: int = 0) -> np.ndarray:
    return mask.draw(lengths, size, np.random.default_rng(seed))


def runs(row: np.ndarray) -> list[tuple[int, int]]:
    """Begin and end of every stretch of masked states (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


@pytest.mark.parametrize("probability", [0.05, 0.3])
@pytest.mark.parametrize("length", [1, 4, 10])
def test_as_many_states_are_masked_as_spans_make(probability: float, length: int) -> None:
    """A state is masked unless none of the last `length` states, itself among them, begins a span."""
    count, size = 4000, 30
    masked = drawn(Mask(probability, length), np.full(count, size), size)
    expected = 1 - (1 - probability) ** np.minimum(np.arange(size) + 1, length)
    deviation = np.sqrt(expected * (1 - expected) / count)
    assert (np.abs(masked.mean(0) - expected) < 4.5 * deviation).all()


@pytest.mark.parametrize("length", [1, 4, 10])
def test_spans_have_their_length_but_at_the_end(length: int) -> None:
    """They may overlap, so a stretch may be longer; only the end of the utterance cuts one short."""
    sizes = []
    for seed in range(50):
        for row, valid in zip(drawn(Mask(0.05, length), seed=seed), LENGTHS, strict=True):
            sizes += [end - begin for begin, end in runs(row) if end < valid]
            assert all(end - begin >= length or end == valid for begin, end in runs(row))
    assert min(sizes) == length and max(sizes) > length  # most stretches are one span, and some spans do overlap


def test_no_mask_lies_in_the_padding() -> None:
    for seed in range(20):
        masked = drawn(Mask(0.4, 6), seed=seed)
        assert masked.shape == (5, 64) and masked[:2].any(1).all()
        assert not (masked & (np.arange(64) >= LENGTHS[:, None])).any()


def test_a_probability_of_one_masks_every_valid_state() -> None:
    assert drawn(Mask(1.0, 3)).sum(1).tolist() == LENGTHS.tolist()


def test_utterances_shorter_than_a_span() -> None:
    """From a state on all is masked; and now and then nothing is."""
    lengths = np.array([3, 1])
    masked = np.stack([drawn(Mask(0.3, 10), lengths, 4, seed) for seed in range(200)])  # (200, 2, 4)
    assert not masked[:, 0, 3].any() and not masked[:, 1, 1:].any()
    assert (masked[:, 0, :2] <= masked[:, 0, 1:3]).all()
    assert 0 < masked[:, 1, 0].sum() < 200 and {0, 1, 2, 3} == set(masked[:, 0].sum(1).tolist())


@pytest.mark.parametrize("lengths", [np.zeros(2, dtype=np.int64), np.zeros(0, dtype=np.int64)], ids=["no states", "no utterances"])
def test_nothing_to_mask(lengths: np.ndarray) -> None:
    assert drawn(Mask(0.5, 2), lengths, 4).tolist() == [[False] * 4] * len(lengths)


def test_masks_follow_the_generator() -> None:
    mask = Mask(0.2, 3)
    assert np.array_equal(drawn(mask), drawn(mask)) and not np.array_equal(drawn(mask), drawn(mask, seed=1))


CHANGES = {
    "input": "phones",
    "embed": "table",
    "start": 1,
    "mask": Mask(0.1, 2),
    "cut": Cut(40, 2, 30, "context"),
    "causal": True,
    "train": False,
}


def test_every_view_has_random_numbers_of_its_own() -> None:
    """But for the gradient, which must not change what a state is."""
    views = [View(), *(View(**{name: value}) for name, value in CHANGES.items()), View(mask=Mask(0.1, 3))]
    assert {*CHANGES, "grad"} == {option.name for option in fields(View)}
    assert len({view.key for view in views}) == len(views) == len(set(views))
    assert View(grad=False).key == View().key and View(grad=False) != View()


def test_options_say_what_a_view_says() -> None:
    assert view_of(None) == ViewOptions().view() == View()
    mask = {"probability": 0.2, "length": 3, "vector": "v"}
    options = {"input": "p", "text": "text.p", "embed": "e", "start": 2, "mask": mask, "causal": True}
    assert ViewOptions(**options).view() == View("p:text.p", "e", 2, Mask(0.2, 3, "v"), causal=True)


def test_frames_that_pass_through_the_encoder() -> None:
    lengths = np.array([100, 72, 71])
    assert View().frames(lengths) == 243
    assert View(cut=Cut(40, 2, 30, "context")).frames(lengths) == 80
    assert View(cut=Cut(40, 2, 30, "future", windows=3)).frames(np.array([104, 72, 71])) == 90
