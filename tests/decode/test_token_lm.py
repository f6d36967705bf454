"""An n-gram over tokens in a search: the probabilities of its sentences, and a clear line for a model of other tokens."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from m2asr.data.directory import read_table
from m2asr.decode import token_lm
from m2asr.decode.token_lm import TokenNgram
from m2asr.errors import UserError
from m2asr.lm.arpa import read_arpa
from m2asr.lm.ngram import NgramModel
from m2asr.text.tokenizer import BLANK, UNK, Tokenizer, train_tokenizer
from tests.decode.small import TEXTS, estimated, from_random_arpa, letters, walk

SMALL = letters("abcde")  # all words of the random models


@pytest.fixture(scope="module", params=["char", "unigram"])
def trained(request, mini_data, tmp_path_factory) -> tuple[NgramModel, Tokenizer, list[str]]:
    """A 4-gram of the pieces of the Italian training transcripts, with the dev transcripts."""
    texts = list(read_table(mini_data / "train_it/text").values())
    folder = tmp_path_factory.mktemp(request.param)
    tokenizer = train_tokenizer(request.param, 120, texts, folder / "tokens")
    return estimated(folder, texts, tokenizer, order=4), tokenizer, list(read_table(mini_data / "dev_it/text").values())


def sentence(model: NgramModel, tokenizer: Tokenizer, tokens: list[int]) -> list[float]:
    return model.sentence("<unk>" if token == UNK else tokenizer.tokens[token] for token in tokens)


def test_scores_are_those_of_the_model(trained):
    model, tokenizer, texts = trained
    lm = TokenNgram(model, tokenizer, "lm.bin")
    for text in [*texts[:40], "", " ", "ß è ?"]:
        tokens = tokenizer.encode(text)
        assert walk(lm, tokens) == pytest.approx(sentence(model, tokenizer, tokens), abs=1e-4)


@pytest.mark.parametrize(("seed", "order"), [(0, 4), (1, 5), (2, 3), (3, 2), (4, 1)])
def test_random_models(seed, order, tmp_path):
    """Pruned n-grams, missing and large back-off weights; the rows of a state are those that the model tells itself."""
    model = from_random_arpa(tmp_path, seed, order)
    lm, rng = TokenNgram(model, SMALL, "lm.bin"), random.Random(seed)
    words = [*"abcde", "</s>"]
    for _ in range(100):
        tokens = rng.choices(range(1, SMALL.size - 1), k=rng.randrange(9))
        assert walk(lm, tokens) == pytest.approx(sentence(model, SMALL, tokens), abs=1e-4)
    states = list(range(len(model.suffixes)))
    rows, after = lm.expand(states)
    assert np.allclose(rows[:, UNK + 1 :], model.rows(torch.tensor(states))[:, model.ids(words)], atol=1e-5)
    for token, word in enumerate("abcde", UNK + 1):
        following = model.next(torch.tensor(states), torch.tensor(model.ids([word] * len(states))))
        assert [int(states_after[token]) for states_after in after] == following.tolist()


def test_every_row_is_a_distribution(trained):
    """Over all tokens but the blank, which no text holds."""
    model, tokenizer, texts = trained
    lm = TokenNgram(model, tokenizer, "lm.bin")
    states = [lm.start]
    for token in tokenizer.encode(" ".join(texts[:5])):
        states.append(lm.expand(states[-1:])[1][0][token])
    rows = lm.expand(states)[0]
    assert np.exp(rows[:, UNK:]).sum(1) == pytest.approx(np.ones(len(states)), abs=1e-4)
    assert not rows[:, BLANK].any()


def test_forgotten_rows_are_made_again(trained, monkeypatch):
    model, tokenizer, texts = trained
    tokens = tokenizer.encode(texts[0])
    expected = walk(TokenNgram(model, tokenizer, "lm.bin"), tokens)
    monkeypatch.setattr(token_lm, "MEMORY", 1)
    lm = TokenNgram(model, tokenizer, "lm.bin")
    assert walk(lm, tokens) == expected and len(lm.rows) < 2 * model.order


def test_a_model_without_unk_gives_unknown_tokens_next_to_nothing(tmp_path):
    lines = ["\\data\\", "ngram 1=4", "", "\\1-grams:", "-99\t<s>", "-0.4\t</s>", "-0.5\ta", "-0.6\tb", "", "\\end\\", ""]
    (tmp_path / "lm.arpa").write_text("\n".join(lines))
    lm = TokenNgram(NgramModel.from_table(read_arpa(tmp_path / "lm.arpa")), letters("ab"), "lm.arpa")
    assert walk(lm, [UNK, 2])[0] < -100 and walk(lm, [2, 3]) == pytest.approx(np.log(10) * np.array([-0.5, -0.6, -0.4]))


def test_a_model_of_other_tokens_is_refused(tmp_path):
    model = estimated(tmp_path, TEXTS, letters(" ab"))
    TokenNgram(model, letters(" ab"), "exp/lm.bin")
    message = "exp/lm.bin: a model of different tokens: it lacks 2 of the 5 of the tokenizer, such as c d; estimate it over this tokenizer"
    with pytest.raises(UserError, match=message):
        TokenNgram(model, letters(" abcd"), "exp/lm.bin")
    words = estimated(tmp_path, TEXTS)
    with pytest.raises(UserError, match=r"it lacks 1 of the 3 of the tokenizer, such as ▁; .* or use it as a model of words"):
        TokenNgram(words, letters(" ab"), "exp/lm.bin")
