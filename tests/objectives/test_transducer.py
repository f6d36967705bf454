"""The transducer objective: its loss, what is left out, shared modules, gradients beside other objectives, and what it learns."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch
from rapidfuzz.distance import Levenshtein
from torchaudio.functional import rnnt_loss as torchaudio_loss

from m2asr.errors import UserError
from m2asr.models.transducer import greedy
from m2asr.objectives.rnnt_prune import sum_loss
from m2asr.objectives.view import View
from tests.objectives import build

VIEW = View()
LSTM = {"type": "lstm_predictor", "layers": 1, "dim": 8, "dropout": 0.0}
STATELESS = {"type": "stateless_predictor", "dim": 8, "dropout": 0.0}
JOINER = {"type": "joiner", "dim": 12}
ONE = {"rnnt": {"type": "transducer", "stream": "x", "tokens": "a", "predictor": "texts", "joiner": "join"}}
SHARED = {
    "x_a": {"type": "transducer", "stream": "x", "tokens": "a", "predictor": "texts", "joiner": "join"},
    "y_a": {"type": "transducer", "stream": "y", "tokens": "a", "text": "text.x", "predictor": "texts", "joiner": "join"},
}
TARGETS = [[2, 3, 3, 4], [5, 6], []]


def system(objectives=None, modules=None, dtype=torch.float64, **options):
    model = build.config().model.model_dump() | ({"texts": LSTM, "join": JOINER} if modules is None else modules)
    objectives = objectives or {"rnnt": {**ONE["rnnt"], **options}}
    return build.system(dtype, model=model, objectives=objectives, penalty=None)


def run(batch, model, name="rnnt", train=True):
    share, loss, encoded = build.learn(model.train(train), batch, name)
    return share, loss, encoded[VIEW]


def test_the_loss_is_that_of_torchaudio_on_all_logits():
    batch, model = build.batch([120, 90, 77], {"a:text": TARGETS}, dtype=torch.float32), system(dtype=torch.float32)
    share, loss, encoded = run(batch, model)
    encoded_side, predicted, weight, bias = model.join(encoded.states["output"][:, :29], model.texts(batch.targets["a:text"]))
    logits = (encoded_side[:, :, None] + predicted[:, None]).tanh() @ weight.T + bias
    sizes = encoded.lengths.int(), torch.tensor([4, 2, 0], dtype=torch.int32)
    expected = torchaudio_loss(logits, batch.targets["a:text"].int(), *sizes, blank=0, reduction="sum")
    assert loss.sum.item() == pytest.approx(expected.item(), rel=1e-5)
    assert share.weight == 7  # tokens, at least one per utterance


def test_a_band_over_all_tokens_adds_the_loss_that_chooses_it():
    batch = build.batch([120, 90, 77], {"a:text": TARGETS})
    pruned = system(prune=5, prune_weight=0.25)
    exact = system()
    exact.load_state_dict({name: value for name, value in pruned.state_dict().items() if not name.startswith("objectives.")})
    head = pruned.objectives["rnnt"]
    _, loss, encoded = run(batch, pruned)
    states, predicted = encoded.states["output"], pruned.texts(batch.targets["a:text"])
    sizes = encoded.lengths.tolist(), [4, 2, 0]
    choosing, _ = sum_loss(head.of_states(states), head.of_predicted(predicted), batch.targets["a:text"], *sizes)
    expected = run(batch, exact)[1].sum + 0.25 * choosing.sum()
    assert loss.sum.item() == pytest.approx(expected.item(), rel=1e-12)


def test_the_choice_of_the_band_is_learned_first():
    """The factors go from (0.1, 1) to (1, 0.5) over the steps of the warm-up, and are the last ones outside training."""
    batch = build.batch([120, 90, 77], {"a:text": TARGETS})
    plain = system(prune=3)
    band, choosing = (run(batch, system(prune=3, prune_weight=weight))[1].sum.detach() for weight in (1.0, 2.0))
    band, choosing = float(2 * band - choosing), float(choosing - band)
    made = system(prune=3, prune_warmup=4)
    made.load_state_dict(plain.state_dict(), strict=False)
    for done in (0.0, 0.25, 0.5, 0.75, 1.0, 1.0):
        expected = (0.1 + 0.9 * done) * band + (1 - 0.5 * done) * choosing
        assert run(batch, made)[1].sum.item() == pytest.approx(expected, rel=1e-9)
        made.objectives["rnnt"].after_step()
    assert made.state_dict()["objectives.rnnt.steps"] == 6
    made.objectives["rnnt"].steps.zero_()
    assert run(batch, made, train=False)[1].sum.item() == pytest.approx(run(batch, plain, train=False)[1].sum.item(), rel=1e-12)


def test_a_narrow_band_is_trained_until_its_loss_is_that_of_all_alignments():
    batch = build.batch([60, 90], {"a:text": [[2, 3, 3, 4, 7], [5, 2, 6]]}, dtype=torch.float32)
    modules = {"texts": {**LSTM, "dim": 32}, "join": {**JOINER, "dim": 32}}
    model, exact = (system(modules=modules, dtype=torch.float32, **options) for options in ({"prune": 3}, {}))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        run(batch, model)[1].sum.backward()
        optimizer.step()
    assert build.dev_error(model, batch, "rnnt") == (0, 8)
    exact.load_state_dict({name: value for name, value in model.state_dict().items() if not name.startswith("objectives.")})
    assert run(batch, exact)[1].sum.item() < 0.1


@pytest.mark.parametrize("per, expected", [("token", 7.0), ("utterance", 3.0), ("frame", 29.0 + 21.0 + 18.0)])
def test_per(per, expected):
    assert run(build.batch([120, 90, 77], {"a:text": TARGETS}), system(per=per))[0].weight == expected


def gradients(model, batches):
    model.zero_grad()
    for batch in batches:
        run(batch, model)[1].sum.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize(("predictor", "options"), [(LSTM, {}), (STATELESS, {}), (LSTM, {"prune": 2})], ids=["lstm", "stateless", "pruned"])
def test_batches_of_one_utterance_have_the_loss_and_gradients_of_one_batch(predictor, options):
    """So padding changes nothing, and micro-batches equal one batch."""
    model, together = system(modules={"texts": predictor, "join": JOINER}, **options), build.batch([120, 90, 77], {"a:text": TARGETS})
    alone = []
    for row, (length, target) in enumerate(zip([120, 90, 77], TARGETS, strict=True)):
        single = build.batch([length], {"a:text": [target]})
        alone.append(dataclasses.replace(single, inputs={"feats": together.inputs["feats"][row : row + 1, :length]}))
    assert run(together, model)[1].sum.item() == pytest.approx(sum(run(single, model)[1].sum.item() for single in alone), rel=1e-9)
    together_grads, alone_grads = gradients(model, [together]), gradients(model, alone)
    assert together_grads.keys() == alone_grads.keys()
    assert {name.split(".")[0] for name in alone_grads} == {"encoder", "texts", "join"} | ({"objectives"} if options else set())
    for name in together_grads:
        assert torch.allclose(together_grads[name], alone_grads[name], rtol=1e-8, atol=1e-10), name


def test_missing_targets_and_states_are_left_out():
    model = system()
    share, loss, _ = run(build.batch([120, 90, 5], {"a:text": [[2, 3], None, [4]]}), model)  # 5 frames give no state
    alone, expected, _ = run(build.batch([120], {"a:text": [[2, 3]]}), model)
    assert loss.sum.item() == pytest.approx(expected.sum.item(), rel=1e-9) and share.weight == alone.weight == 2
    assert share.metrics["unrepresentable"] == (1.0, 2.0)


def test_more_tokens_than_the_states_may_write_are_counted():
    """40 frames give 9 states: 9 tokens fit with one per state, 10 do not; with more per state both are learned."""
    batch = build.batch([40, 40, 120], {"a:text": [[2] * 9, [2] * 10, [3]]})
    share, loss, encoded = run(batch, system(max_symbols=1))
    assert encoded.lengths[0] == 9 and share.metrics["unrepresentable"] == (1.0, 3.0) and share.weight == 10
    assert torch.isfinite(loss.sum)
    assert run(batch, system(max_symbols=2))[0].metrics["unrepresentable"] == (0.0, 3.0)


def test_no_target_at_all_is_nothing_to_learn():
    share, loss, _ = run(build.batch([120, 90], {"a:text": [None, None]}), system())
    assert loss is None and share.weight == 0 and share.metrics["unrepresentable"] == (0.0, 0.0)


@pytest.mark.parametrize("target", [None, []], ids=["missing", "empty"])
def test_targets_without_width(target):
    """As they are read where no utterance of a batch has a token: blanks alone are learned."""
    batch, model = build.batch([120, 90], {"a:text": [target, target]}), system()
    batch.targets["a:text"] = batch.targets["a:text"][:, :0]
    share, loss, encoded = run(batch, model)
    assert share.weight == (0 if target is None else 2)
    if loss is not None:
        logits = model.join.logits(*model.join(encoded.states["output"], model.texts(batch.targets["a:text"]))[:2])  # (B, T', V)
        blanks = logits.log_softmax(-1)[..., 0]
        expected = -sum(blanks[row, :length].sum().item() for row, length in enumerate(encoded.lengths.tolist()))
        assert loss.sum.item() == pytest.approx(expected, rel=1e-9)
    assert build.dev_error(model, batch, "rnnt")[1] == 0


def test_dev_errors_are_those_of_a_greedy_search():
    """Also of an utterance without a state and of one whose text is too long; only a missing reference is no error."""
    references = [[2, 3, 4], [2] * 19, None, [5, 6], []]
    batch, model = build.batch([120, 40, 90, 5, 60], {"a:text": references}), system(max_symbols=2)
    share, _, encoded = run(batch, model, train=False)
    with torch.no_grad():
        texts, _ = greedy(encoded.states["output"], encoded.lengths, model.texts, model.join, 2)
    assert share.metrics["unrepresentable"] == (2.0, 4.0) and texts[3] == []
    edits = sum(Levenshtein.distance(text, reference) for text, reference in zip(texts, references, strict=True) if reference is not None)
    assert build.dev_error(model, batch, "rnnt") == (edits, 24)
    assert build.dev_error(model, build.batch([5, 5], {"a:text": [[5, 6], None]}), "rnnt") == (2, 2)


def test_several_objectives_share_predictor_and_joiner():
    model = system(SHARED)
    assert model.objectives["x_a"].predictor is model.objectives["y_a"].predictor is model.texts
    assert model.objectives["x_a"].joiner is model.objectives["y_a"].joiner is model.join
    assert model.objectives["x_a"].runs == ("texts", "join") and not list(model.objectives["x_a"].parameters())
    assert {name.split(".")[0] for name, _ in model.groups(model.theta(["encoder"]))["heads"]} == {"texts", "join"}
    assert set(model.state_dict()) - {"mean", "scale"} == set(dict(model.named_parameters()))


@pytest.mark.parametrize(
    ("modules", "change", "message"),
    [
        ({}, {"predictor": "text"}, "objectives.y_a.predictor: `text` does not exist; did you mean `texts`"),
        ({}, {"predictor": "join"}, "objectives.y_a.predictor: model.join has the type joiner; name a module of the type lstm_predictor"),
        ({}, {"joiner": "encoder"}, "objectives.y_a.joiner: model.encoder has the type conformer; name a module of the type joiner"),
        ({}, {"tokens": "b"}, "model.texts: its objectives have different tokens (a, b); a predictor has one vocabulary, so give x_a, y_a"),
        ({"more": LSTM}, {"tokens": "b", "predictor": "more"}, "model.join: its objectives have different tokens (a, b); a joiner has one"),
        ({"more": {**LSTM, "dim": 6}}, {"predictor": "more"}, "model.join: its predictors have different widths (more 6, texts 8)"),
        ({"more": LSTM}, {}, "model.more: no objective has `predictor: more`"),
        ({"more": JOINER}, {}, "model.more: no objective has `joiner: more`"),
        ({"texts": {**LSTM, "context": 1}}, {}, "model.texts: context: unknown key"),
        ({}, {"max_symbols": 0}, "max_symbols: Input should be greater than or equal to 1, got 0"),
        ({}, {"prune": 1}, "objectives.y_a: prune: 1 is too small; give at least 2 (positions in the text per state), or leave it out"),
        ({}, {"prune": 5, "prune_weight": 0}, "objectives.y_a: prune_weight: 0.0 is no positive number"),
        ({}, {"prune": 5, "prune_weight": float("nan")}, "objectives.y_a: prune_weight: Input should be a finite number, got nan"),
        ({}, {"prune_weight": 0.1}, "objectives.y_a: prune_weight: it needs `prune`; set `prune: 5`, or take it away"),
        ({}, {"prune_warmup": 100}, "objectives.y_a: prune_warmup: it needs `prune`; set `prune: 5`, or take it away"),
        ({"texts": {**LSTM, "layers": 0}}, {}, "model.texts: layers: Input should be greater than or equal to 1, got 0"),
        ({"texts": {**LSTM, "dim": 0}}, {}, "model.texts: dim: Input should be greater than or equal to 1, got 0"),
        ({"texts": {**STATELESS, "context": 0}}, {}, "model.texts: context: Input should be greater than or equal to 1, got 0"),
        ({"texts": {**LSTM, "dropout": 1.5}}, {}, "model.texts: dropout: Input should be less than 1, got 1.5"),
        ({"join": {**JOINER, "dim": 0}}, {}, "model.join: dim: Input should be greater than or equal to 1, got 0"),
        ({}, {"joiner": None}, "objectives.y_a: joiner"),
    ],
)
def test_mistakes_are_one_line(modules, change, message):
    with pytest.raises(UserError, match=re.escape(message)) as error:
        system({"x_a": SHARED["x_a"], "y_a": {**SHARED["y_a"], **change}}, {"texts": LSTM, "join": JOINER, **modules})
    assert "\n" not in str(error.value)


def test_predictors_of_one_width_may_share_a_joiner():
    model = system(
        {"x_a": SHARED["x_a"], "y_a": {**SHARED["y_a"], "predictor": "more"}}, {"texts": LSTM, "join": JOINER, "more": STATELESS}
    )
    assert model.objectives["y_a"].predictor is model.more and model.join.predicted.in_features == 8


@pytest.mark.parametrize("options", [{}, {"prune": 3}], ids=["exact", "pruned"])
def test_in_mixed_precision_the_loss_is_float32(options):
    batch, model = build.batch([120, 90, 77], {"a:text": TARGETS}, dtype=torch.float32), system(dtype=torch.float32, **options)
    expected = run(batch, model)[1].sum.item()
    with torch.autocast("cpu", torch.bfloat16):
        loss = run(batch, model)[1].sum
    loss.backward()
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(expected, rel=0.02)
    gradients = [parameter.grad for parameter in (*model.texts.parameters(), *model.join.parameters())]
    assert all(gradient.dtype == torch.float32 and torch.isfinite(gradient).all() for gradient in gradients)


def test_an_utterance_is_learned_and_then_written_by_greedy_search():
    batch = build.batch([60], {"a:text": [[2, 3, 3, 4, 7]]}, dtype=torch.float32)
    model = system(modules={"texts": {**LSTM, "dim": 32}, "join": {**JOINER, "dim": 32}}, dtype=torch.float32)
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=0.02), []
    assert build.dev_error(model, batch, "rnnt")[0] > 0
    for _ in range(40):
        optimizer.zero_grad()
        loss = run(batch, model)[1].sum
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 < 5 < losses[0] and not np.isnan(losses).any()
    assert build.dev_error(model, batch, "rnnt") == (0, 5)
