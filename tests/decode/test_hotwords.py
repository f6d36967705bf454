"""Hot words: what counts in the end is what a slow reader counts, after every token of random texts."""

from __future__ import annotations

import random

import pytest

from m2asr.data.directory import read_table
from m2asr.decode.hotwords import HotWords
from m2asr.decode.prefix_table import PrefixTable
from m2asr.errors import UserError
from m2asr.text.tokenizer import SPACE, UNK, Tokenizer, train_tokenizer
from tests.decode.small import letters, walk

LETTERS = letters(" abcd")
NAMES = letters(sorted(" abcefiklnorstwy"))
CHINESE = letters("你好吗我们")
OVERLAPPING = ["a", "a b", "a b c d", "b c", "b", "ab", "ab a", "c d a", "d a b"]
REPEATING = ["a a b", "a a a a", "aa", "aa a", "a aa"]


@pytest.fixture(scope="module")
def unigram(mini_data, tmp_path_factory) -> Tokenizer:
    """Pieces of the English training transcripts."""
    texts = read_table(mini_data / "train_en/text").values()
    return train_tokenizer("unigram", 90, texts, tmp_path_factory.mktemp("tokens") / "en")


def in_phrases(tokens: list[int], phrases: list[str], tokenizer: Tokenizer, spaced: bool = True) -> int:
    """Tokens in phrases, counted without an automaton: from left to right, at every position the longest phrase that ends with a word."""
    pieces, encoded = [tokenizer.tokens[token] for token in tokens], [tokenizer.encode(phrase) for phrase in phrases]
    position = count = 0
    while position < len(tokens):
        ends = [position + len(phrase) for phrase in encoded if tokens[position : position + len(phrase)] == phrase]
        if spaced:
            ends = [end for end in ends if end == len(tokens) or pieces[end].startswith(SPACE)]
            if position and SPACE not in (pieces[position][0], pieces[position - 1]):
                ends = []
        size = max(ends, default=position) - position
        count, position = count + size, position + max(size, 1)
    return count


def total(text: str, phrases: list[str], tokenizer: Tokenizer, spaced: bool = True) -> float:
    """The score of a finished text."""
    return sum(walk(HotWords(phrases, tokenizer, spaced), tokenizer.encode(text)))


def pieces_of(phrases: list[str], tokenizer: Tokenizer, rng: random.Random) -> list[int]:
    """A random text of phrases and of pieces of phrases, some of them separated by spaces or by tokens of no phrase."""
    tokens: list[int] = []
    while len(tokens) < 14:
        phrase = tokenizer.encode(rng.choice(phrases))
        first = rng.choice([0, 0, 0, rng.randrange(len(phrase))])
        tokens += phrase[first : first + rng.choice([1, 2, len(phrase), len(phrase)])]
        tokens += rng.choice([[], [rng.randrange(1, tokenizer.size - 1)], *2 * [[space] for space in (tokenizer.ids.get(SPACE),) if space]])
    return tokens


def check(tokens: list[int], phrases: list[str], tokenizer: Tokenizer, spaced: bool = True) -> None:
    """After every token: the end gives what the text so far counts, until then no more than the tokens read."""
    model = HotWords(phrases, tokenizer, spaced)
    for size in range(len(tokens) + 1):
        scores = walk(model, tokens[:size])
        assert sum(scores) == in_phrases(tokens[:size], phrases, tokenizer, spaced), tokenizer.decode(tokens[:size])
        assert scores[-1] <= 0 and all(score <= model.most_gain for score in scores)
        assert sum(scores) <= sum(scores[:-1]) <= size


@pytest.mark.parametrize("phrases", [OVERLAPPING, REPEATING, ["abcd"], ["a b c d", "b c"], ["ab cd a", "cd"], ["d"]])
@pytest.mark.parametrize("spaced", [True, False])
def test_what_counts_is_what_a_slow_reader_counts(phrases, spaced):
    rng = random.Random(len(phrases))
    for _ in range(60):
        check(pieces_of(phrases, LETTERS, rng), phrases, LETTERS, spaced)


def test_phrases_of_pieces(unigram):
    """The same over the pieces of a trained tokenizer."""
    phrases = ["please hold", "please hold the line", "hold the", "the line", "thank you", "you"]
    rng = random.Random(1)
    for _ in range(60):
        check(pieces_of(phrases, unigram, rng), phrases, unigram)


@pytest.mark.parametrize("spaced", [True, False])
def test_phrases_of_words_that_are_tokens(spaced, tmp_path):
    phones = train_tokenizer("words", None, ["n i3 h ao3", "h ao3 n"], tmp_path / "phones")
    phrases = ["n i3", "i3 h ao3", "h", "ao3 n n"]
    rng = random.Random(1)
    for _ in range(60):
        known = [token for token in pieces_of(phrases, phones, rng) if token != UNK]
        check(known, phrases, phones, spaced)
    with pytest.raises(UserError, match="hot word `n x i`: the tokenizer cannot write the words i x"):
        HotWords(["n x i"], phones)


@pytest.mark.parametrize(
    ("text", "phrases", "count"),
    [
        ("anna", ["anna"], 4),
        ("banana", ["anna", "an", "ana"], 0),
        ("annabel", ["anna"], 0),
        ("anna is in", ["anna"], 4),
        ("is anna", ["anna"], 4),
        ("anna anna", ["anna"], 8),
        ("new york", ["new", "new york city"], 3),  # the phrase that began is taken back, the one in it stays
        ("new york city", ["new", "new york city"], 13),
        ("new york citys", ["new", "new york city"], 3),
        ("newest", ["new", "new york city"], 0),
        ("a new nest", ["new", "a new start"], 3),  # a whole phrase within a broken one
        ("a b a b", ["a b a b c", "b a"], 3),
        ("a b c", ["a b", "b c"], 3),  # phrases do not overlap
        ("", ["anna"], 0),
        ("anna", [], 0),
    ],
)
def test_examples(text, phrases, count):
    assert total(text, phrases, NAMES) == count


def test_what_breaks_is_taken_back_at_once():
    model = HotWords(["new", "new york city"], NAMES)
    assert walk(model, NAMES.encode("new york n")) == [1, 1, 1, 1, 1, 1, 1, 1, 1, -5, -1]  # `new` stays; the n begins the next one
    assert walk(model, NAMES.encode("newer")) == [1, 1, 1, -3, 0, 0]


def test_phrases_stand_anywhere_where_no_spaces_are_written():
    assert total("我们你好吗", ["你好"], CHINESE, spaced=False) == 2
    assert total("你好你好", ["你好"], CHINESE, spaced=False) == 4
    assert total("你你好", ["你好", "你你吗"], CHINESE, spaced=False) == 2
    assert total("我们你好吗", ["你好"], CHINESE) == 2  # a tokenizer without spaces is that of such a language
    rng = random.Random(3)
    for _ in range(60):
        phrases = ["你好", "好吗我", "你好吗你", "我"]
        check(pieces_of(phrases, CHINESE, rng), phrases, CHINESE, spaced=False)


def test_pieces_of_a_language_without_spaces(tmp_path):
    """sentencepiece begins a text with a space; a phrase counts at the beginning of a text and within it."""
    texts = ["你好吗", "我们好", "你们好吗", "我好", "好吗我们"] * 3
    tokenizer = train_tokenizer("unigram", 14, texts, tmp_path / "zh")
    ids = tokenizer.ids
    assert tokenizer.encode("我们你好") == [ids["▁我"], ids["们"], ids["你"], ids["好"]]
    assert total("我们你好", ["你好"], tokenizer, spaced=False) == total("你好", ["你好"], tokenizer, spaced=False) == 2
    assert total("我们你好", ["你好", "我们"], tokenizer, spaced=False) == 4
    within = [ids["▁你"], ids["我"], ids["们"]]
    assert sum(walk(HotWords(["我们"], tokenizer, spaced=False), within)) == 2
    assert sum(walk(HotWords(["我们好"], tokenizer, spaced=False), within)) == 0


def test_letters_that_the_tokenizer_does_not_know_are_named():
    with pytest.raises(UserError, match=r"hot word `anna x7`: the tokenizer cannot write the letters 7 x; correct the phrase"):
        HotWords(["anna", "anna x7"], NAMES)
    with pytest.raises(UserError, match="cannot write it"):
        HotWords([""], NAMES)


def test_a_row_holds_the_score_of_every_token():
    """Also of those that no phrase goes on with, in every state."""
    model = HotWords(OVERLAPPING, LETTERS)
    states = range(len(model.paths))
    rows, after = model.expand(states)
    assert rows.shape == (len(states), LETTERS.size)
    for state in states:
        for token in range(UNK, LETTERS.size):
            node, gain = model.step(state, token)
            assert rows[state, token] == gain
            assert token == LETTERS.eos or after[state][token] == node


def test_a_table_of_hot_words_knows_every_state():
    table = PrefixTable(HotWords(["new", "new york city"], NAMES))
    assert float(table.scores[table.start(), NAMES.ids["n"]]) == 1.0
    assert float(table.scores[table.start(), NAMES.ids["e"]]) == 0.0
