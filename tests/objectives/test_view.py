"""Views: which states a mask covers, what names a view's random numbers, and how many frames pass through the encoder."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from m2asr.objectives.view import Cut, Mask, Noise, View, ViewOptions, view_of

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
    assert (drawn(Mask(0.3, 10**9), lengths, 4) == drawn(Mask(0.3, 10), lengths, 4)).all()  # the longest that a config may name


@pytest.mark.parametrize("lengths", [np.zeros(2, dtype=np.int64), np.zeros(0, dtype=np.int64)], ids=["no states", "no utterances"])
def test_nothing_to_mask(lengths: np.ndarray) -> None:
    assert drawn(Mask(0.5, 2), lengths, 4).tolist() == [[False] * 4] * len(lengths)


def test_masks_follow_the_generator() -> None:
    mask = Mask(0.2, 3)
    assert np.array_equal(drawn(mask), drawn(mask)) and not np.array_equal(drawn(mask), drawn(mask, seed=1))


VOCAB = 40
TEXTS = np.where(np.arange(64) < LENGTHS[:, None], np.random.default_rng(5).integers(1, VOCAB - 1, (5, 64)), 0)  # (5, 64)


@pytest.mark.parametrize("share", [0.01, 0.07, 0.3, 1.0])
@pytest.mark.parametrize("span", [1, 3, 100])
def test_noise_corrupts_its_share_of_every_text_rounded_up(share: float, span: int) -> None:
    lengths = np.arange(101)
    for seed in range(3):
        chosen = Noise(share, span=span).draw(lengths, 104, np.random.default_rng(seed))
        assert chosen.sum(1).tolist() == [-(-round(100 * share) * length // 100) for length in range(101)]
        assert not (chosen & (np.arange(104) >= lengths[:, None])).any()


def test_noise_comes_in_spans_anywhere() -> None:
    """10 of 40 tokens in spans of 4: two of 4 and one of 2, which may touch; every position is about as likely."""
    chosen = Noise(0.25, span=4).draw(np.full(4000, 40), 40, np.random.default_rng(0))
    stretches = [sorted(end - begin for begin, end in runs(row)) for row in chosen]
    assert {tuple(sizes) for sizes in stretches} == {(2, 4, 4), (2, 8), (4, 6), (10,)}
    assert (np.abs(chosen[:, 8:32].mean(0) - 0.25) < 0.06).all() and chosen[:, 0].any() and chosen[:, -1].any()
    alone = Noise(0.25).draw(np.full(4000, 40), 40, np.random.default_rng(0)).mean(0)
    assert (np.abs(alone - 0.25) < 4.5 * np.sqrt(0.25 * 0.75 / 4000)).all()


@pytest.mark.parametrize("random", [0.0, 0.1, 1.0])
def test_a_corrupted_token_is_the_mask_or_a_random_one(random: float) -> None:
    noise, tokens = Noise(0.5, random), np.tile(TEXTS, (40, 1))
    before, lengths = tokens.copy(), np.tile(LENGTHS, 40)
    noisy = noise.corrupt(tokens, lengths, VOCAB, np.random.default_rng(1))
    chosen = noise.draw(lengths, 64, np.random.default_rng(1))
    assert np.array_equal(tokens, before) and np.array_equal(noisy[~chosen], tokens[~chosen])
    replaced = noisy[chosen & (noisy != VOCAB)]
    assert abs(len(replaced) / chosen.sum() - random) <= 4.5 * np.sqrt(random * (1 - random) / chosen.sum())
    if random:
        assert replaced.min() >= 2 and replaced.max() <= VOCAB - 2  # neither blank, unknown nor sos/eos
        assert len(replaced) < 1000 or len(set(replaced)) == VOCAB - 3


def test_noise_follows_the_generator_and_leaves_empty_texts() -> None:
    noise = Noise(0.3)
    first, same, other = (noise.corrupt(TEXTS, LENGTHS, VOCAB, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, same) and not np.array_equal(first, other) and not first[4].any()
    assert noise.corrupt(TEXTS[4:, :0], LENGTHS[4:], VOCAB, np.random.default_rng(0)).shape == (1, 0)


CHANGES = {
    "input": "phones",
    "embed": "table",
    "start": 1,
    "mask": Mask(0.1, 2),
    "cut": Cut(40, 2, 30, "context"),
    "causal": True,
    "train": False,
    "noise": Noise(0.3),
    "average": 0.9,
}


def test_every_view_has_random_numbers_of_its_own() -> None:
    """But for the gradient, which must not change what a state is."""
    views = [View(), *(View(**{name: value}) for name, value in CHANGES.items()), View(mask=Mask(0.1, 3)), View(noise=Noise(0.3, span=2))]
    assert {*CHANGES, "grad"} == {option.name for option in fields(View)}
    assert len({view.key for view in views}) == len(views) == len(set(views))
    assert View(grad=False).key == View().key and View(grad=False) != View()


def test_options_say_what_a_view_says() -> None:
    assert view_of(None) == ViewOptions().view() == View()
    mask = {"probability": 0.2, "length": 3, "vector": "v"}
    options = {"input": "p", "text": "text.p", "embed": "e", "start": 2, "mask": mask, "causal": True, "noise": {"share": 0.3}}
    assert ViewOptions(**options).view() == View("p:text.p", "e", 2, Mask(0.2, 3, "v"), causal=True, noise=Noise(0.3, 0.1, 1))


def test_frames_that_pass_through_the_encoder() -> None:
    lengths = np.array([100, 72, 71])
    assert View().frames(lengths) == 243
    assert View(cut=Cut(40, 2, 30, "context")).frames(lengths) == 80
    assert View(cut=Cut(40, 2, 30, "future", windows=3)).frames(np.array([104, 72, 71])) == 90
