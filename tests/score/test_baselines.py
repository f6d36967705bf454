"""Baselines: the oracle really is the nearest sentence."""

from __future__ import annotations

from rapidfuzz.distance import Levenshtein

from m2asr.data.directory import read_table
from m2asr.score.baselines import most_frequent, nearest_sentences


def test_no_training_sentence_is_nearer(mini_data):
    training = list(read_table(mini_data / "train_en" / "text").values())
    references = list(read_table(mini_data / "test_en" / "text").values())
    for split in (str.split, list):
        for reference, nearest in zip(references, nearest_sentences(references, training, split), strict=True):
            assert nearest in training
            best = min(Levenshtein.distance(split(reference), split(sentence)) for sentence in training)
            assert Levenshtein.distance(split(reference), split(nearest)) == best


def test_most_frequent():
    assert most_frequent(["b", "a", "b", "a", "c"]) == "a"
    assert most_frequent([]) == ""
