"""Language identification: the loss, what is left out, padding, and the languages that training fills in."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from m2asr.errors import UserError
from m2asr.objectives.view import View
from tests.objectives import build

VIEW = View()


def system(languages=("en", "it")):
    asr = {"type": "ctc", "stream": "x", "tokens": "a"}
    return build.system(objectives={"asr": asr, "lid": {"type": "langid", "stream": "raw", "languages": languages and list(languages)}})


def run(one, made, train=True):
    made.train(train)
    encoded = {VIEW: made.encode(one, VIEW, seed=0)}
    return made.objectives["lid"](encoded, one), encoded[VIEW]


def test_the_loss_is_the_cross_entropy_of_the_mean_state():
    made, one = system(), build.batch([120, 90, 40], {}, langs=["en", "it", "en"])
    loss, encoded = run(one, made, train=False)
    total, right = 0.0, 0
    for row, label in enumerate([0, 1, 0]):
        mean = encoded.states["output"][row, : encoded.lengths[row]].mean(0)
        logits = made.objectives["lid"].output(mean)
        total += F.cross_entropy(logits, torch.tensor(label)).item()
        right += int(logits.argmax() == label)
    assert loss.sum.item() == pytest.approx(total, rel=1e-9) and loss.weight == 3
    assert loss.metrics["accuracy"] == (right, 3) and loss.metrics["error"] == (3 - right, 3)


def test_other_languages_and_utterances_without_a_state_are_left_out():
    made = system()
    loss, _ = run(build.batch([120, 90, 5], {}, langs=["en", "ru", "it"]), made)
    expected, _ = run(build.batch([120], {}, langs=["en"]), made)
    assert loss.sum.item() == pytest.approx(expected.sum.item(), rel=1e-9) and loss.weight == 1


def test_nothing_to_tell_is_a_zero_on_the_graph():
    made = system()
    loss, _ = run(build.batch([120], {}, langs=["ru"]), made)
    loss.sum.backward()
    assert loss.sum.item() == 0 and loss.weight == 0 and (made.objectives["lid"].output.weight.grad == 0).all()


@pytest.mark.parametrize("languages", [None, ["en"]])
def test_one_language_is_nothing_to_tell(languages):
    with pytest.raises(UserError, match="two or more"):
        system(languages)
