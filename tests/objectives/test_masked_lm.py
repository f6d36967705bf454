"""Masked language modelling: brute force, the codes of the contrastive objective, labels without gradient, metrics."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from m2asr.errors import UserError
from m2asr.models.quantizers import code_counts, perplexity
from tests.objectives import build
from tests.objectives.test_contrastive import ENCODER, KINDS, MASKED_LM, system

BATCH = [300, 200, 60, 3]


def spied(made):
    """The codes of every call of the quantizer, in the order of calls."""
    codes = []
    made.codes.register_forward_hook(lambda _module, _args, result: codes.append(result[1]))
    return codes


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_both_objectives_see_the_same_codes(kind, training):
    made = system(kind, mlm=True).train(training)
    codes, batch = spied(made), build.batch(BATCH, {})
    for name in ("contrastive", "mlm"):
        build.learn(made, batch, name)
    assert len(codes) == 2 and torch.equal(*codes) and len(codes[0]) > 20
    if kind == "gumbel" and training:
        build.learn(made, build.batch(BATCH, {}, seed=1), "mlm")
        assert not torch.equal(codes[0][:20], codes[2][:20])


@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_metrics_are_those_of_the_equations(kind):
    made = system(kind, mlm=True)
    codes, batch = spied(made), build.batch(BATCH, {})
    share, loss, encoded = build.learn(made, batch, "mlm")
    objective = made.objectives["mlm"]
    mask = batch.drawn[objective.views[0]].tensors["mask"]
    states = encoded[objective.views[0]].states["output"][:, : mask.shape[1]][mask]  # (N, D) in the order of utterances
    logits = objective.output(states).view(-1, 2, 6)
    expected = sum(F.cross_entropy(logits[:, group], codes[0][:, group], reduction="sum") for group in range(2)) / 2
    assert torch.allclose(loss.sum, expected) and share.weight == len(states) == mask.sum()
    hits, most = (logits.argmax(-1) == codes[0]).sum().item(), sum(codes[0][:, group].bincount().max().item() for group in range(2))
    assert loss.metrics["accuracy"] == (hits, 2 * len(states)) and loss.metrics["majority"] == (most, 2 * len(states))
    shares = [codes[0][:, group].bincount(minlength=6) / len(states) for group in range(2)]
    perplexities = [torch.exp(-(share * share.clamp(min=1e-30).log()).sum()).item() for share in shares]
    assert loss.metrics["perplexity"][0].item() == pytest.approx(sum(perplexities) / 2, rel=1e-5)
    assert share.metrics["skipped"] == (1.0, 4.0)


def test_every_language_has_a_perplexity():
    """Also of steps whose utterance is in none of them; a language that is not in the batch has no value."""
    made = system("nearest", mlm=True, languages=["en", "it", "ru"])
    codes, batch = spied(made), build.batch([300, 200, 160, 200], {}, langs=["it", "en", "it", "und"])
    share, loss, _ = build.learn(made, batch, "contrastive")
    assert made.objectives["contrastive"].metrics[-3:] == ("perplexity_en", "perplexity_it", "perplexity_ru")
    assert made.objectives["mlm"].metrics == type(made.objectives["mlm"]).metrics  # which has no languages
    rows = share.tensors["rows"]
    for lang, utterances in (("en", [1]), ("it", [0, 2])):
        expected = perplexity(code_counts(codes[0][torch.isin(rows, torch.tensor(utterances))], 6))
        assert loss.metrics[f"perplexity_{lang}"] == (pytest.approx(expected.item()), 1.0)
    assert "perplexity_ru" not in loss.metrics and set(loss.metrics) | set(share.metrics) < set(made.objectives["contrastive"].metrics)
    assert build.learn(system(languages=["en"]), batch, "contrastive")[1].metrics.keys() == {"accuracy", "chance", "perplexity"}


@pytest.mark.parametrize("kind", KINDS)
def test_labels_carry_no_gradient(kind):
    """The front end learns through the masked states alone, the quantizer not at all."""
    made = system(kind, mlm=True)
    share, loss, encoded = build.learn(made, build.batch(BATCH, {}), "mlm")
    (view,) = made.objectives["mlm"].views
    assert encoded[view].states["frontend"].requires_grad
    detached = {view: type(encoded[view])({**encoded[view].states, "frontend": encoded[view].states["frontend"].detach()}, None)}
    same = made.objectives["mlm"](detached, share)
    parameters = [parameter for name, parameter in made.named_parameters() if not name.startswith("objectives.contrastive")]
    gradients = [torch.autograd.grad(value.sum, parameters, allow_unused=True, retain_graph=True) for value in (loss, same)]
    for parameter, gradient, other in zip(parameters, *gradients, strict=True):
        of_quantizer = any(parameter is value for value in made.codes.parameters())
        assert (gradient is None) == (other is None) == of_quantizer
        assert gradient is None or torch.equal(gradient, other)


@pytest.mark.parametrize("kind", ["gumbel", "nearest"])
def test_a_quantizer_that_nothing_trains_is_refused(kind):
    """Its codes would be those of its random start."""
    model = {"encoder": ENCODER, "codes": {"type": f"{kind}_quantizer"}, "cmvn": "none", "specaugment": None}
    with pytest.raises(UserError, match=r"model.codes: it gives labels \(objectives.mlm\), and no objective trains it") as raised:
        build.system(model=model, objectives={"mlm": MASKED_LM})
    assert "\n" not in str(raised.value)


def test_a_frozen_projection_needs_no_other_objective():
    model = {"encoder": ENCODER, "codes": {"type": "projection_quantizer"}, "cmvn": "none", "specaugment": None}
    made = build.system(model=model, objectives={"mlm": MASKED_LM}).train()
    _, loss, _ = build.learn(made, build.batch(BATCH, {}), "mlm")
    assert torch.isfinite(loss.sum) and made.objectives["mlm"].output.out_features == 8192
    assert "it suits these features badly" in made.objectives["mlm"].warning({"perplexity": 1.5})


def test_its_options_are_checked():
    for options, message in (({"view": {}}, "view.mask: missing"), ({"tap": "frontend"}, "tap: `frontend` is before the mask")):
        with pytest.raises(UserError, match=message):
            build.system(
                model={"encoder": ENCODER, "codes": "projection_quantizer"},
                objectives={"mlm": {**MASKED_LM, **options}},
            )
    with pytest.raises(UserError, match="objectives.mlm: quantizer: missing"):
        build.config(objectives={"mlm": {key: value for key, value in MASKED_LM.items() if key != "quantizer"}})
