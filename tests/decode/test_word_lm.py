"""An n-gram over words in a search: a finished text has the probability of its sentence, whatever tokens write it."""

from __future__ import annotations

import random

import pytest

from m2asr.data.directory import read_table
from m2asr.decode.word_lm import UNKNOWN, WordNgram
from m2asr.errors import UserError
from m2asr.lm.arpa import read_arpa
from m2asr.lm.ngram import NgramModel
from m2asr.text.tokenizer import SPACE, UNK, Tokenizer, train_tokenizer
from tests.decode.small import ended_after_every_token, estimated, letters, walk


@pytest.fixture(scope="module")
def sentences(mini_data) -> dict[str, list[str]]:
    return {split: list(read_table(mini_data / f"{split}_it/text").values()) for split in ("train", "dev")}


@pytest.fixture(scope="module")
def model(sentences, tmp_path_factory) -> NgramModel:
    """A 3-gram of the words of the Italian training transcripts."""
    return estimated(tmp_path_factory.mktemp("words"), sentences["train"], order=3)


@pytest.fixture(scope="module", params=["char", "words", "unigram", "bpe"])
def tokenizer(request, sentences, tmp_path_factory) -> Tokenizer:
    size = None if request.param == "words" else 120
    return train_tokenizer(request.param, size, sentences["train"], tmp_path_factory.mktemp("tokens") / "it")


def test_a_finished_text_has_the_score_of_its_sentence(model, tokenizer, sentences):
    vocabulary = set(model.words)
    lm = WordNgram(model, tokenizer, "lm")
    texts = [*sentences["dev"][:60], *sentences["train"][:20], "", "a", "zzz", "zzz pronto zzz"]
    assert any(not set(text.split()) <= vocabulary for text in texts)
    for text in texts:
        tokens = tokenizer.encode(text)
        expected = sum(model.sentence(tokenizer.decode(tokens).split()))
        assert sum(walk(lm, tokens)) == pytest.approx(expected, abs=1e-3)


def test_after_every_token_the_end_is_that_of_the_text_so_far(model, tokenizer, sentences):
    """Also of texts that no tokenizer writes: spaces in a row, at the beginning and at the end, unknown letters."""
    rng, lm = random.Random(1), WordNgram(model, tokenizer, "lm")
    space = [tokenizer.ids[SPACE]] if SPACE in tokenizer.ids else []
    for text in sentences["dev"][:10]:
        tokens = tokenizer.encode(text)
        for _ in range(4):
            position = rng.randrange(len(tokens) + 1)
            tokens[position:position] = rng.choice([space, 2 * space, [UNK], [rng.randrange(2, tokenizer.size - 1)]])
        for size, score in enumerate(ended_after_every_token(lm, tokens)):
            expected = sum(model.sentence(tokenizer.decode(tokens[:size]).split()))
            assert score == pytest.approx(expected, abs=1e-3)


def test_a_word_is_scored_when_it_ends(model):
    tokenizer = letters("abeilnoprstv ")
    scores = walk(WordNgram(model, tokenizer, "lm"), tokenizer.encode("pronto si"))
    pronto, unknown, end = model.sentence(["pronto", "si"])
    assert scores == pytest.approx([0, 0, 0, 0, 0, 0, pronto, 0, 0, unknown + end], abs=1e-5)


def write_arpa(path, words: dict[str, float]) -> NgramModel:
    unigrams = "".join(f"{score}\t{word}\n" for word, score in words.items())
    path.write_text(f"\\data\\\nngram 1={len(words)}\n\n\\1-grams:\n{unigrams}\n\\end\\\n")
    return NgramModel.from_table(read_arpa(path))


def test_a_model_without_unk_has_a_price_for_unknown_words(tmp_path):
    model = write_arpa(tmp_path / "lm.arpa", {"<s>": -99, "</s>": -0.4, "ab": -0.5})
    lm, tokenizer = WordNgram(model, letters(" abc"), "lm"), letters(" abc")
    expected = sum(walk(lm, tokenizer.encode("ab ab")))
    assert sum(walk(lm, tokenizer.encode("ab cc"))) == pytest.approx(expected - model.sentence(["ab"])[0] + UNKNOWN, abs=1e-5)


def test_a_model_in_capitals_is_asked_in_capitals(tmp_path):
    words = {"<s>": -99, "</s>": -0.4, "<unk>": -3, "AB": -0.5}
    capitals = write_arpa(tmp_path / "capitals.arpa", words)
    lower = write_arpa(tmp_path / "lower.arpa", {word.lower(): score for word, score in words.items()})
    for pieces, text in ((" ab", "ab"), (" AB", "AB")):
        tokens = letters(pieces).encode(text)
        assert walk(WordNgram(capitals, letters(pieces), "lm"), tokens)[-1] == pytest.approx(-0.9 * 2.302585, abs=1e-4)
    assert walk(WordNgram(lower, letters(" AB"), "lm"), letters(" AB").encode("AB"))[-1] == pytest.approx(-3.4 * 2.302585, abs=1e-4)


def test_tokens_that_begin_no_words_are_refused(model):
    with pytest.raises(UserError, match="exp/lm.bin: a model of words, but no token of the tokenizer begins a word; use a model of its"):
        WordNgram(model, letters("abc"), "exp/lm.bin")
