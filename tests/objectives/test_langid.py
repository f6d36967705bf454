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


def run(batch, model, train=True):
    share, loss, encoded = build.learn(model.train(train), batch, "lid")
    return share, loss, encoded[VIEW]


def test_the_loss_is_the_cross_entropy_of_the_mean_state():
    model, batch = system(), build.batch([120, 90, 40], {}, langs=["en", "it", "en"])
    share, loss, encoded = run(batch, model, train=False)
    total, right = 0.0, 0
    for row, label in enumerate([0, 1, 0]):
        mean = encoded.states["output"][row, : encoded.lengths[row]].mean(0)
        logits = model.objectives["lid"].output(mean)
        total += F.cross_entropy(logits, torch.tensor(label)).item()
        right += int(logits.argmax() == label)
    assert loss.sum.item() == pytest.approx(total, rel=1e-9) and share.weight == 3
    assert loss.metrics["accuracy"] == (right, 3) and build.dev_error(model, batch, "lid") == (3 - right, 3)


def test_an_utterance_without_a_state_is_a_dev_error():
    model = system()
    errors, _ = build.dev_error(model, build.batch([120], {}, langs=["en"]), "lid")
    assert build.dev_error(model, build.batch([120, 90, 5], {}, langs=["en", "ru", "it"]), "lid") == (errors + 1, 2)
    assert build.dev_error(model, build.batch([5], {}, langs=["it"]), "lid") == (1, 1)


def test_other_languages_and_utterances_without_a_state_are_left_out():
    model = system()
    share, loss, _ = run(build.batch([120, 90, 5], {}, langs=["en", "ru", "it"]), model)
    _, expected, _ = run(build.batch([120], {}, langs=["en"]), model)
    assert loss.sum.item() == pytest.approx(expected.sum.item(), rel=1e-9) and share.weight == 1


def test_nothing_to_tell_is_nothing_to_learn():
    share, loss, _ = run(build.batch([120], {}, langs=["ru"]), system())
    assert loss is None and share.weight == 0


@pytest.mark.parametrize("languages", [None, ["en"]])
def test_one_language_is_nothing_to_tell(languages):
    with pytest.raises(UserError, match="two languages or more"):
        system(languages)
