"""The attention objective: the exact loss, what is left out, padding, and decoders that objectives share."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch

from m2asr.errors import UserError
from m2asr.moo import WEIGHTINGS
from m2asr.moo.level import Level
from m2asr.objectives.view import View
from m2asr.train.step import JointStep
from tests.objectives import build

VIEW = View()
SMALL = {"type": "transformer", "blocks": 1, "dim": 8, "heads": 2, "dropout": 0.0}
OWN = {"type": "attention", "stream": "x", "tokens": "a", "decoder": SMALL}
SHARED = {
    "st_x": {"type": "attention", "stream": "x", "tokens": "a", "decoder": "main", "prefix": "en"},
    "st_y": {"type": "attention", "stream": "y", "tokens": "a", "text": "text.x", "decoder": "main", "prefix": "it"},
}
TARGETS = [[2, 3, 3, 4], [5, 6], []]


def system(objectives=None, decoders=None, **options):
    config = build.config().model.model_dump()
    config["decoders"] = decoders or {}
    return build.system(model=config, objectives=objectives or {"att": {**OWN, **options}}, penalty=None)


def run(batch, model, name="att", train=True):
    share, loss, encoded = build.learn(model.train(train), batch, name)
    return share, loss, encoded[VIEW]


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_the_loss_is_the_cross_entropy_with_smoothed_targets(smoothing):
    """Computed by hand, token by token: target distribution (1 - e) onehot + e / V, over the tokens and the end."""
    batch, model = build.batch([120, 90, 77], {"a:text": TARGETS}), system(smoothing=smoothing)
    share, loss, encoded = run(batch, model)
    decoder, vocab, total = model.objectives["att"].decoder, build.VOCAB["a"], 0.0
    for row, target in enumerate(TARGETS):
        memory = encoded.states["output"][row : row + 1, : encoded.lengths[row]]
        for position, token in enumerate([*target, vocab - 1]):
            before = torch.tensor([target[:position]], dtype=torch.long)
            log_probs = decoder(before, memory, encoded.lengths[row : row + 1])[0, -1].log_softmax(-1)
            target_probs = torch.full((vocab,), smoothing / vocab, dtype=torch.float64)
            target_probs[token] += 1 - smoothing
            total -= float((target_probs * log_probs.detach()).sum())
    assert loss.sum.item() == pytest.approx(total, rel=1e-9)
    assert share.weight == 9 == loss.metrics["accuracy"][1]  # 6 tokens and 3 ends


def test_the_metrics_are_those_of_teacher_forcing():
    batch, model = build.batch([120, 90, 77], {"a:text": TARGETS}), system()
    _, loss, _ = run(batch, model, train=False)
    correct, count = loss.metrics["accuracy"]
    assert build.dev_error(model, batch, "att") == (count - correct, count)


def test_tokens_of_an_utterance_without_a_state_are_dev_errors():
    model = system()
    errors, count = build.dev_error(model, build.batch([120], {"a:text": [[2, 3, 3, 4]]}), "att")
    assert count == 5
    assert build.dev_error(model, build.batch([120, 5, 60], {"a:text": [[2, 3, 3, 4], [5, 6], None]}), "att") == (errors + 3, 8)
    assert build.dev_error(model, build.batch([5, 5], {"a:text": [[5, 6], None]}), "att") == (3, 3)  # two tokens and the end


def gradients(model, batches):
    model.zero_grad()
    for batch in batches:
        run(batch, model)[1].sum.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def test_padding_changes_no_loss_and_no_gradient():
    model, together = system(), build.batch([120, 90, 77], {"a:text": TARGETS})
    alone = []
    for row, (length, target) in enumerate(zip([120, 90, 77], TARGETS, strict=True)):
        single = build.batch([length], {"a:text": [target]})
        alone.append(dataclasses.replace(single, inputs={"feats": together.inputs["feats"][row : row + 1, :length]}))
    assert run(together, model)[1].sum.item() == pytest.approx(sum(run(single, model)[1].sum.item() for single in alone), rel=1e-9)
    together_grads, alone_grads = gradients(model, [together]), gradients(model, alone)
    assert together_grads.keys() == alone_grads.keys()
    for name in together_grads:
        assert torch.allclose(together_grads[name], alone_grads[name], rtol=1e-8, atol=1e-10), name


def test_missing_targets_and_states_are_left_out():
    model = system()
    share, loss, _ = run(build.batch([120, 90, 5], {"a:text": [[2, 3], None, [4]]}), model)  # 5 frames give no state
    alone, expected, _ = run(build.batch([120], {"a:text": [[2, 3]]}), model)
    assert loss.sum.item() == pytest.approx(expected.sum.item(), rel=1e-9) and share.weight == alone.weight == 3
    assert share.metrics["unrepresentable"] == (1.0, 2.0)


def test_no_target_at_all_is_nothing_to_learn():
    share, loss, _ = run(build.batch([120, 90], {"a:text": [None, None]}), system())
    assert loss is None and share.weight == 0


def test_targets_without_width():
    """As they are read where no utterance of a batch has a token: what is learned is their end."""
    batch, model = build.batch([120, 90], {"a:text": [[], []]}), system(smoothing=0.0)
    batch.targets["a:text"] = batch.targets["a:text"][:, :0]
    share, loss, encoded = run(batch, model)
    logits = model.objectives["att"].decoder(torch.zeros(2, 0, dtype=torch.long), encoded.states["output"], encoded.lengths)
    assert share.weight == 2 and loss.sum.item() == pytest.approx(-logits.log_softmax(-1)[:, 0, -1].sum().item(), rel=1e-9)


@pytest.mark.parametrize("per, expected", [("token", 9.0), ("utterance", 3.0), ("frame", 29.0 + 21.0 + 18.0)])
def test_per(per, expected):
    share, _, _ = run(build.batch([120, 90, 77], {"a:text": TARGETS}), system(per=per))
    assert share.weight == expected


def test_a_shared_decoder_is_one_head_that_gets_the_plain_sum():
    """Under MGDA its gradient is the sum over objectives, unweighted; it has one place in groups, parts and the state dict."""
    model = system(SHARED, {"main": SMALL})
    assert model.objectives["st_x"].decoder is model.objectives["st_y"].decoder
    assert not list(model.objectives["st_x"].parameters())
    names = [name for name, _ in model.groups(model.theta(["encoder"]))["heads"]]
    assert names and all(name.startswith("main.") for name in names)
    assert set(model.state_dict()) - {"mean", "scale"} == set(dict(model.named_parameters()))
    assert [name for name, parameters in model.module_parameters() if parameters] == ["encoder", "main"]

    draw = {key: value for key, value in build.draw().items() if key != "raw"}
    streams = {"st_x": "x", "st_y": "y"}
    level = Level(list(streams), WEIGHTINGS["mgda"](objectives=list(streams)))
    JointStep(model, streams, [level], torch.float64)([draw], 0, factors=[1.0])
    merged = {name: parameter.grad.clone() for name, parameter in model.main.named_parameters()}
    model.zero_grad()
    for name, stream in streams.items():
        share, loss, _ = run(draw[stream][0], model, name)
        (loss.sum / share.weight).backward()
    for name, parameter in model.main.named_parameters():
        assert torch.allclose(merged[name], parameter.grad, rtol=1e-9, atol=1e-12), name


def test_prefixes_are_those_of_the_readers():
    assert sorted(system(SHARED, {"main": SMALL}).main.prefixes) == ["en", "it"]


@pytest.mark.parametrize(
    ("decoders", "change", "message"),
    [
        ({"main": SMALL}, {"decoder": "mein"}, "objectives.st_y.decoder: `mein` does not exist; did you mean `main`"),
        ({"main": SMALL}, {"tokens": "b"}, "model.main: its objectives have different tokens (a, b)"),
        ({"main": SMALL, "more": SMALL}, {}, "model.more: no objective has `decoder: more`"),
        ({"main": {**SMALL, "blcks": 1}}, {}, "model.main: blcks: unknown key; did you mean `blocks`"),
        ({"main": SMALL}, {"decoder": {**SMALL, "head": 1}}, "objectives.st_y.decoder: head: unknown key; did you mean `heads`"),
        ({"main": SMALL}, {"decoder": {"blocks": 1}}, "objectives.st_y.decoder.type: missing; valid: transformer"),
    ],
)
def test_mistakes_are_one_line(decoders, change, message):
    with pytest.raises(UserError, match=re.escape(message)):
        system({"st_x": SHARED["st_x"], "st_y": {**SHARED["st_y"], **change}}, decoders)


def test_in_mixed_precision_the_loss_is_float32():
    batch = build.batch([120, 90, 77], {"a:text": TARGETS}, dtype=torch.float32)
    model = system(decoder={**SMALL, "dropout": 0.2}).float()
    with torch.autocast("cpu", torch.bfloat16):
        _, loss, _ = run(batch, model)
    loss.sum.backward()
    assert loss.sum.dtype == torch.float32
    assert all(p.grad.dtype == torch.float32 and torch.isfinite(p.grad).all() for p in model.objectives["att"].parameters())


def test_a_decoder_with_experts_adds_their_balance():
    """Means over the tokens and the ends; padded tokens count nothing."""
    batch = build.batch([120, 90, 77], {"a:text": TARGETS})
    losses = {}
    for balance in (0.0, 0.5):
        model = system(decoder={**SMALL, "blocks": 2, "experts": {"count": 3, "top": 2}}, balance=balance)
        share, loss, encoded = run(batch, model)
        losses[balance] = float(loss.sum.detach())
    labels = share.tensors["labels"]
    read = (share.tensors["targets"], encoded.states["output"].detach(), encoded.lengths)
    _, routers = model.objectives["att"].decoder(*read, valid=labels != -100, with_routers=True)
    expected = 0.0
    for logits in routers:
        p = logits[labels != -100].detach().softmax(-1)  # (9, 3)
        assert len(p) == 9
        expected += float((1 / p.norm(dim=-1)).mean()) + 3 * float(p.mean(0).square().sum())
    assert losses[0.5] - losses[0.0] == pytest.approx(9 * 0.5 * expected, rel=1e-9)
    assert model.objectives["att"].compares
    for options, message in (({"balance": 0.1}, "the decoder has no experts"), ({"balance": -1.0}, "balance: Input should be greater")):
        with pytest.raises(UserError, match=message):
            system(**options)


JOINED = {
    "letters": {"type": "attention", "stream": "x", "tokens": "a", "decoder": "main"},
    "codes": {"type": "attention", "stream": "x", "tokens": "b", "decoder": "main"},
}


def test_objectives_of_joined_tokenizers_share_all_but_their_tokens():
    model = system(JOINED, {"main": {**SMALL, "joined": ["a", "b"]}})
    batch = build.batch([120, 90], {"a:text": [[2, 3], [4]], "b:text": [[1, 5, 2], [3]]})
    sizes = build.VOCAB["a"], build.VOCAB["b"]
    assert model.main.embedding.num_embeddings == sum(sizes)
    for name, own in (("letters", slice(0, sizes[0])), ("codes", slice(sizes[0], None))):
        model.zero_grad()
        run(batch, model, name)[1].sum.backward()
        for table in (model.main.embedding.weight.grad, model.main.output.weight.grad):
            rows = table.abs().sum(1)
            assert rows[own].sum() > 0 and rows.sum() == rows[own].sum()
        assert model.main.norm.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("joined", "objectives", "told"),
    [
        (["a", "c"], JOINED, "model.main.joined: `c` does not exist"),
        (["a"], JOINED, "model.main.joined: give two different tokenizers or more"),
        (["a", "a"], JOINED, "model.main.joined: give two different tokenizers or more"),
        (["a", "b"], {"letters": JOINED["letters"]}, "no objective of this decoder writes b"),
    ],
)
def test_tokenizers_that_cannot_be_joined(joined, objectives, told):
    with pytest.raises(UserError, match=told):
        system(objectives, {"main": {**SMALL, "joined": joined}})


def test_a_joined_decoder_in_theta_carries_lambda():
    """Its gradient is that of the loss times the weight, and the encoder's as well."""
    found = []
    for weight in (1.0, 0.25):
        model = system(JOINED, {"main": {**SMALL, "joined": ["a", "b"]}}).train()
        level = Level(["letters", "codes"], WEIGHTINGS["static"](["letters", "codes"], {"letters": weight, "codes": weight}))
        step = JointStep(model, {"letters": "x", "codes": "x"}, [level], torch.float64, over=["encoder", "main"])
        batch = build.batch([120, 90], {"a:text": [[2, 3], [4]], "b:text": [[1, 5, 2], [3]]})
        assert step([{"x": [batch]}], 0, [1.0]).problem is None
        found.append({name: param.grad for name, param in model.named_parameters()})
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], 0.25 * gradient, rtol=1e-9, atol=1e-12)


def test_only_a_shared_decoder_joins_tokenizers():
    with pytest.raises(UserError, match="decoder.joined: only for a decoder of `model:`"):
        system(decoder={**SMALL, "joined": ["a", "b"]})
