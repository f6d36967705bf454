from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from m2asr.errors import UserError
from m2asr.lm.arpa import read_arpa
from m2asr.lm.ngram import NgramModel
from m2asr.lm.states import write_model
from m2asr.lm.table import ZERO
from tests.lm.models import Recursion, write_random_arpa


def mapped(arpa: Path) -> NgramModel:
    write_model(arpa.with_name("lm.bin"), read_arpa(arpa))
    return NgramModel.load(arpa.with_name("lm.bin"))


@pytest.fixture
def arpa(tmp_path: Path) -> Path:
    write_random_arpa(tmp_path / "lm.arpa", seed=0)
    return tmp_path / "lm.arpa"


@pytest.mark.parametrize(("seed", "order"), [(0, 4), (1, 5), (2, 3), (3, 2), (4, 1)])
def test_rows_and_scores_equal_the_recursion(seed: int, order: int, tmp_path: Path) -> None:
    write_random_arpa(tmp_path / "lm.arpa", seed, order)
    model, recursion, rng = mapped(tmp_path / "lm.arpa"), Recursion(tmp_path / "lm.arpa"), random.Random(seed)
    assert model.order == order
    histories = [("<s>", *rng.choices([*"abcde", "<unk>"], k=rng.randrange(8))) for _ in range(200)]
    states = []
    for history in histories:
        state = torch.tensor([model.start])
        for position, word in enumerate(history[1:], 1):
            score, state = model.scores(state, torch.tensor(model.ids([word])))
            assert score.item() == pytest.approx(recursion.score(history[:position], word), abs=1e-5)
        states.append(state)
    rows = model.rows(torch.cat(states))
    expected = [[recursion.score(history, word) for word in model.words] for history in histories]
    torch.testing.assert_close(rows, torch.tensor(expected), atol=2e-5, rtol=1e-6)
    words = torch.randint(len(model.words), (len(states),), generator=torch.Generator().manual_seed(0))
    scores, following = model.scores(torch.cat(states), words)
    torch.testing.assert_close(scores, rows[torch.arange(len(words)), words])
    assert torch.equal(following, model.next(torch.cat(states), words))


def test_a_state_is_the_longest_known_context(arpa: Path) -> None:
    model, recursion = mapped(arpa), Recursion(arpa)
    contexts = {(): model.empty}  # contexts that some n-gram extends or that have a weight
    for ngram in sorted(recursion.log_probs, key=len):
        extended = any(longer[:-1] == ngram for longer in recursion.log_probs)
        if extended or recursion.backoffs[ngram]:
            contexts[ngram] = len(contexts)
    assert len(model.suffixes) == len(contexts)
    states: dict[tuple[str, ...], int] = {}
    rng = random.Random(5)
    for _ in range(300):
        history, state = ("<s>",), torch.tensor([model.start])
        for word in rng.choices([*"abcde", "<unk>"], k=rng.randrange(8)):
            history, state = (*history, word), model.next(state, torch.tensor(model.ids([word])))
        context = next(history[i:] for i in range(len(history) + 1) if history[i:] in contexts)
        assert states.setdefault(context, state.item()) == state.item()
    assert len(set(states.values())) == len(states) > 50


def test_a_sentence_is_scored_from_its_start_to_its_end(arpa: Path) -> None:
    model, recursion = mapped(arpa), Recursion(arpa)
    words = ["a", "c", "never-seen", "b"]
    known = ["<s>", "a", "c", "<unk>", "b", "</s>"]
    expected = [recursion.score(tuple(known[:i]), known[i]) for i in range(1, 6)]
    assert model.sentence(words) == pytest.approx(expected, abs=1e-5)


def test_without_unk_an_unknown_word_has_no_probability_and_ends_the_context(arpa: Path) -> None:
    text = arpa.read_text().replace("<unk>", "other")
    arpa.write_text(text)
    model = mapped(arpa)
    assert model.unk is None and model.ids(["never-seen"]) == [-1]
    scores, following = model.scores(torch.tensor([model.start, model.start]), torch.tensor([-1, model.index["a"]]))
    assert scores[0].item() == pytest.approx(ZERO) and following[0] == model.empty
    assert scores[1] > ZERO and following[1] != model.empty


def test_no_states_give_no_rows(arpa: Path) -> None:
    model, nothing = mapped(arpa), torch.zeros(0, dtype=torch.long)
    assert model.rows(nothing).shape == (0, len(model.words))
    assert [tensor.shape for tensor in model.scores(nothing, nothing)] == [(0,), (0,)]


def test_a_damaged_file_is_one_line(arpa: Path) -> None:
    mapped(arpa)
    path = arpa.with_name("lm.bin")
    data = path.read_bytes()
    length = len(data)
    damages = {
        "truncated": data[: length - 100],
        "cut in the header": data[:40],
        "empty": b"",
        "longer": data + b"x",
        "other version": data.replace(b"n-gram 1", b"n-gram 9", 1),
        "header": data[:60] + b"}" + data[61:],
        "array": data.replace(b'"backoffs"', b'"backoxxs"', 1),
        "offset": data.replace(b'"offset": 0', b'"offset": 7', 1),
        "arpa": arpa.read_bytes(),
    }
    for damage, damaged in damages.items():
        path.write_bytes(damaged)
        with pytest.raises(UserError) as raised:
            NgramModel.load(path)
        assert str(path) in str(raised.value) and "\n" not in str(raised.value), damage
    with pytest.raises(UserError, match=r"no.bin: cannot read: No such file"):
        NgramModel.load(path.with_name("no.bin"))
