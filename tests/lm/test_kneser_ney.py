from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from m2asr.lm.build import Estimated, estimate_model
from m2asr.lm.ngram import NgramModel
from m2asr.lm.perplexity import measure
from m2asr.lm.sources import Sources
from m2asr.text.tokenizer import Tokenizer
from tests.lm.models import SlowKneserNey


def estimated(paths: list[Path], order: int, scratch: Path, *cutoffs: int, tokenizer: Tokenizer | None = None) -> Estimated:
    padded = [*cutoffs, *[cutoffs[-1] if cutoffs else 0] * order][:order]
    return estimate_model(Sources(paths, tokenizer=tokenizer), order, padded, 0.0, scratch)


def assert_equal_to_the_slow_one(model: NgramModel, sentences: list[list[str]], order: int) -> None:
    slow = SlowKneserNey(sentences, order, len(model.words) - 1)
    rng = random.Random(0)
    predicted = [number for number, word in enumerate(model.words) if word != "<s>"]
    for sentence in rng.sample(sentences, min(8, len(sentences))):
        history, state = ("<s>",), torch.tensor([model.start])
        for word in [*sentence[:6], None]:
            expected = [slow.prob(history[-(order - 1) :] if order > 1 else (), model.words[number]) for number in predicted]
            torch.testing.assert_close(model.rows(state)[0, predicted].exp(), torch.tensor(expected), rtol=1e-4, atol=1e-9)
            if word is not None:
                history, state = (*history, word), model.next(state, torch.tensor(model.ids([word])))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_equals_a_slow_implementation_on_words(order: int, sentences: list[list[str]], mini_data: Path, tmp_path: Path) -> None:
    model = estimated([mini_data / "train_en"], order, tmp_path)
    assert all(smoothing.discounts for smoothing in model.smoothings)
    assert_equal_to_the_slow_one(NgramModel.from_table(model.table), sentences, order)


def test_equals_a_slow_implementation_on_characters(
    sentences: list[list[str]], letters: Tokenizer, mini_data: Path, tmp_path: Path
) -> None:
    model = estimated([mini_data / "train_en"], 6, tmp_path, tokenizer=letters)
    assert model.smoothings[0].discounts is None and model.smoothings[5].discounts  # every letter is frequent
    assert_equal_to_the_slow_one(NgramModel.from_table(model.table), [list("▁".join(words)) for words in sentences], 6)


@pytest.mark.parametrize("text", ["a", "a b\nb a\na", "a a a b\nb b c\nc a b c d e f\n" * 3])
def test_little_text_is_smoothed_by_witten_bell(text: str, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(text)
    model = estimated([tmp_path / "text.txt"], 3, tmp_path)
    assert not any(smoothing.discounts for smoothing in model.smoothings) and "Witten-Bell" in str(model.smoothings[0])
    assert_equal_to_the_slow_one(NgramModel.from_table(model.table), [line.split() for line in text.splitlines()], 3)


@pytest.mark.parametrize(
    ("order", "cutoffs", "unit"), [(6, (0,), "char"), (6, (0, 0, 1, 2), "char"), (3, (0,), "word"), (3, (0, 1, 1), "word")]
)
def test_probabilities_sum_to_1_after_random_histories(
    order: int, cutoffs: tuple[int, ...], unit: str, sentences: list[list[str]], letters: Tokenizer, mini_data: Path, tmp_path: Path
) -> None:
    tokenizer = letters if unit == "char" else None
    model = NgramModel.from_table(estimated([mini_data / "train_en"], order, tmp_path, *cutoffs, tokenizer=tokenizer).table)
    rng = random.Random(7)
    states = [model.empty, model.start]
    for _ in range(300):
        words = list("▁".join(rng.choice(sentences))) if unit == "char" else list(rng.choice(sentences))
        words[rng.randrange(len(words)) :] = rng.choices(model.words[2:], k=rng.randrange(4))
        state = torch.tensor([model.start])
        for word in words[-10:]:
            state = model.next(state, torch.tensor(model.ids([word])))
        states.append(state.item())
    assert len(set(states)) > 50
    probs = model.rows(torch.tensor(states)).double().exp()
    probs[:, model.bos] = 0
    torch.testing.assert_close(probs.sum(1), torch.ones(len(states), dtype=torch.double), rtol=0, atol=2e-6)


def test_equals_lmplz_of_kenlm(mini_data: Path, tmp_path: Path) -> None:
    """Discounts and perplexities as lmplz and query of KenLM 0.3.0 gave them for these texts (-o 3, and with --prune 0 0 1)."""
    model = estimated([mini_data / "train_en"], 3, tmp_path)
    discounts = [smoothing.discounts for smoothing in model.smoothings]
    lmplz = [(0.694444, 1.08009, 1.44771), (0.832593, 0.938997, 2.23679), (0.750171, 1.422, 1.65927)]
    np.testing.assert_allclose(discounts, lmplz, rtol=1e-5)
    for cutoffs, with_unknown, without_unknown in (((0,), 40.2252, 21.7951), ((0, 0, 1), 46.5299, 25.9609)):
        table = estimated([mini_data / "train_en"], 3, tmp_path, *cutoffs).table
        perplexity = measure(NgramModel.from_table(table), Sources([mini_data / "test_en"]))
        assert perplexity.unknown == 92 and perplexity.words == 712
        assert perplexity.with_unknown == pytest.approx(with_unknown, rel=1e-5)
        assert perplexity.without_unknown == pytest.approx(without_unknown, rel=1e-5)


def test_every_token_of_the_tokenizer_has_a_probability(letters: Tokenizer, mini_data: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("abc abc\nabd\n")
    model = NgramModel.from_table(estimated([tmp_path / "text.txt"], 3, tmp_path, tokenizer=letters).table)
    assert set(model.words) == {"<unk>", "<s>", "</s>", *letters.tokens[2:-1]}
    scores = model.rows(torch.tensor([model.start]))[0]
    assert scores[model.index["z"]] == scores[model.unk] > -20
