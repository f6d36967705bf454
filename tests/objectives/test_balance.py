"""Losses on routers, and the network that they read: by hand, blind to padding, and with a gradient only where it belongs."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from m2asr.data.batch import Batch
from m2asr.decode.expert_use import expert_use
from m2asr.errors import UserError
from m2asr.models.encoded import Encoded
from m2asr.moo.collectives import Collectives
from m2asr.objectives.balance import Balance
from m2asr.objectives.objective import mean
from m2asr.objectives.system import System
from m2asr.objectives.view import View
from m2asr.train.tally import Tally
from tests.objectives import build

ENCODER = {"type": "conformer", "blocks": 2, "dim": 16, "heads": 2, "kernel": 5, "subsampling": "windows", "dropout": 0.0}
NETWORK = {**ENCODER, "blocks": 1, "dim": 8}
BALANCE = {"type": "balance", "stream": "x", "role": "regular"}
CTC = {"type": "ctc", "stream": "x", "tokens": "a"}
CAUSAL = {"type": "cpc", "stream": "x", "encoding": "causal", "context": 0.4, "future": 0.3}


def system(experts: dict, objectives: dict | None = None, balance: dict | None = None, **modules: object) -> System:
    model = {"encoder": {**ENCODER, "experts": experts}, "cmvn": "none", "specaugment": None, **modules}
    chosen = {"asr_x": CTC, "balance": {**BALANCE, **(balance or {})}, **(objectives or {})}
    return build.system(model=model, objectives=chosen, streams={"x": {"sets": ["x"]}})


def utterances(frames: list[int], seed: int = 0, langs: list[str] | None = None) -> Batch:
    return build.batch(frames, {"a:text": [[2, 3]] * len(frames)}, seed, langs)


def reading(made: System) -> Balance:
    return made.objectives["balance"]


def loss_of(made: System, logits: dict[str, torch.Tensor], lengths: list[int]) -> tuple[float, dict]:
    """The mean loss and the metrics from given logits."""
    objective, frames = reading(made), float(sum(lengths))
    encoded = {objective.views[0]: Encoded(logits, torch.tensor(lengths))}
    found = objective(encoded, build.Share(frames))
    return float(found.sum) / frames, found.metrics


WEIGHTS = {"sparsity": 0.0, "importance": 0.0, "switch": 0.0, "z": 0.0}


@pytest.mark.parametrize(
    ("kind", "even", "single"),
    [("sparsity", 2.0, 1.0), ("importance", 1.0, 4.0), ("switch", 1.0, 4.0)],
)
def test_bounds(kind, even, single):
    """Four experts: a router that gives all the same, and one that gives all to one; all losses lie between."""
    made = system({"count": 4, "blocks": [1]}, balance={**WEIGHTS, kind: 1.0})
    uniform = torch.zeros(2, 6, 4, dtype=torch.float64)
    decided = uniform.clone()
    decided[..., 2] = 200.0
    for logits, expected in ((uniform, even), (decided, single)):
        if not (kind == "switch" and logits is uniform):  # where all are equal, which one is chosen is not told
            assert loss_of(made, {"router1": logits}, [6, 3])[0] == pytest.approx(expected, rel=1e-12)
    low, high = sorted((even, single))
    random = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    assert low < loss_of(made, {"router1": random}, [6, 3])[0] < high


def test_by_hand():
    weights = {"sparsity": 0.3, "importance": 0.2, "switch": 0.5, "z": 0.01}
    made = system({"count": 3, "top": 2}, balance=weights)
    generator = torch.Generator().manual_seed(0)
    logits = {f"router{number}": torch.randn(2, 5, 3, generator=generator, dtype=torch.float64) for number in (1, 2)}
    found, metrics = loss_of(made, logits, [5, 2])
    expected = 0.0
    for name, layer in logits.items():
        rows = torch.cat([layer[0], layer[1, :2]])  # (7, 3) without padding
        p = rows.softmax(-1)
        chosen = torch.zeros(3, dtype=torch.float64)
        for row in p:
            for expert in row.argsort(descending=True)[:2]:
                chosen[expert] += 1 / 14
        expected += 0.3 * float((p.sum(-1) / p.square().sum(-1).sqrt()).mean()) + 0.2 * 3 * float(p.mean(0).square().sum())
        expected += 0.5 * 3 * float((chosen * p.mean(0)).sum()) + 0.01 * float(rows.logsumexp(-1).square().mean())
        total, weight = metrics[f"load_{name}"]
        torch.testing.assert_close(total.double() / weight, chosen)
        total, weight = metrics[f"entropy_{name}"]
        assert float(total) / weight == pytest.approx(float(-(p * p.log()).sum(-1).mean()), rel=1e-12)
    assert found == pytest.approx(expected, rel=1e-12)


def test_padding_takes_no_part():
    made = system({"count": 3}, balance={"switch": 0.1, "z": 0.1})
    batch = utterances([120, 60, 7])
    share, loss, _ = build.learn(made, batch, "balance")
    feats = torch.nn.functional.pad(batch.inputs["feats"], (0, 0, 0, 50), value=5.0)
    longer = dataclasses.replace(batch, inputs={"feats": feats}, drawn={})
    again, padded, _ = build.learn(made, longer, "balance")
    assert share.weight == again.weight == 29 + 14 + 1
    torch.testing.assert_close(padded.sum, loss.sum, rtol=1e-12, atol=0)


def test_the_embedding_network_learns_from_its_own_objective_alone():
    """Its states steer routers; no gradient of the encoder's objectives reaches it, and none of its objective the encoder."""
    made = system(
        {"count": 3, "embedding": "sounds"}, {"sounds_ctc": {**CTC, "tap": "sounds", "role": "regular", "decode": False}}, sounds=NETWORK
    )
    batch = utterances([120, 90])
    router = made.encoder.blocks[0].feed_forward2.router.weight
    assert router.shape == (3, 16 + 8)
    for name in ("asr_x", "balance", "sounds_ctc"):
        made.zero_grad()
        build.learn(made.train(), batch, name)[1].sum.backward()
        reached = {module for module in ("encoder", "sounds") if any(p.grad is not None for p in getattr(made, module).parameters())}
        assert reached == ({"sounds"} if name == "sounds_ctc" else {"encoder"}), name
    assert not made.reaches("sounds_ctc", {"encoder"}) and made.reaches("balance", {"encoder"})
    assert made.untrained is None and system({"count": 3, "embedding": "sounds"}, sounds=NETWORK).untrained == "sounds"
    before = build.encode(made.eval(), batch).states["output"]
    with torch.no_grad():
        for param in made.sounds.parameters():
            param.mul_(-3.0)
    batch.drawn.clear()
    assert not torch.allclose(build.encode(made, batch).states["output"], before)
    assert {name.split(".")[0] for name, _ in made.groups({"encoder"})["backbone"]} == {"encoder", "sounds"}


def test_neighbours_change_nothing_with_an_embedding_network():
    made = system({"count": 3, "embedding": "sounds", "mean": True, "languages": ["en", "it"]}, sounds=NETWORK).eval()
    together = utterances([120, 90, 41], langs=["en", "it", "xx"])
    for row, length in enumerate([120, 90, 41]):
        alone = dataclasses.replace(
            together, inputs={"feats": together.inputs["feats"][row : row + 1, :length]}, lengths={"feats": torch.tensor([length])},
            lang=together.lang[row : row + 1], drawn={},
        )  # fmt: skip
        expected = build.encode(made, alone).states["output"][0]
        found = build.encode(made, together).states["output"][row]
        valid = int(made.encoder.output_lengths(length))
        torch.testing.assert_close(found[:valid], expected[:valid], rtol=0, atol=1e-10)


def test_a_router_may_read_the_language():
    made = system({"count": 4, "languages": ["en", "it"]}).eval()
    with torch.no_grad():
        for block in made.encoder.blocks:
            block.feed_forward2.router.weight[:, 16:] = torch.tensor([[99.0, 0], [0, 99.0], [0, 0], [0, 0]])
    encoded = build.encode(made, utterances([90, 90, 90], langs=["en", "it", "xx"]), taps=["router1"])
    logits = encoded.states["router1"]
    assert set(logits[0].argmax(-1).tolist()) == {0} and set(logits[1].argmax(-1).tolist()) == {1}
    assert float(logits[:2].detach().amax()) > 90 and float(logits[2].detach().abs().amax()) < 10


def test_a_causal_view_sees_nothing_later():
    """With experts, an embedding network and its mean so far."""
    made = system({"count": 3, "embedding": "sounds", "mean": True}, sounds=NETWORK).eval()
    batch = utterances([120])
    view = View(causal=True)
    before = build.encode(made, batch, view).states["output"]
    batch.inputs["feats"][:, 80:] += 1.0
    batch.drawn.clear()
    after = build.encode(made, batch, view).states["output"]
    same = (after == before).all(-1)[0]
    assert bool(same[:18].all()) and not bool(same[-5:].any())


def test_states_that_know_the_language_tell_no_language():
    with pytest.raises(UserError, match="objectives.lid: its states would know the language, which routers read"):
        build.system(
            model={"encoder": {**ENCODER, "experts": {"count": 2, "languages": ["en", "it"]}}},
            objectives={"lid": {"type": "langid", "stream": "x", "languages": ["en", "it"]}},
            penalty=None,
        )


@pytest.mark.parametrize(
    ("experts", "changes", "told"),
    [
        ({"count": 2, "embedding": "sound"}, {}, r"model.encoder.experts.embedding: `sound` does not exist"),
        ({"count": 2, "embedding": "encoder"}, {}, "or is the encoder itself"),
        ({"count": 2, "embedding": "block1"}, {"block1": NETWORK}, "model.block1: states of the encoder have this name"),
        ({"count": 2, "embedding": "block2"}, {"block2": NETWORK}, "model.block2: states of the encoder have this name"),
        ({"count": 2, "embedding": "router1"}, {"router1": NETWORK}, "model.router1: states of the encoder have this name"),
        ({"count": 2, "embedding": ""}, {}, "model.encoder: experts.embedding: "),
        ({"count": 2, "embedding": "writer"}, {"writer": {"type": "mask_vector"}}, "model.writer has the type mask_vector"),
        ({"count": 2, "embedding": "sounds"}, {"sounds": {**NETWORK, "experts": {"count": 2}}}, "name another, plain encoder"),
    ],
)
def test_embedding_networks_that_cannot_be(experts, changes, told):
    with pytest.raises(UserError, match=told):
        system(experts, **changes)


def test_masked_views_and_texts_have_no_embedding_network():
    masked = {"masked": {**CTC, "view": {"mask": {"probability": 0.1, "length": 3}}}}
    with pytest.raises(UserError, match=r"objectives.masked.view: this view masks states, and its audio would reach the embedding network"):
        system({"count": 2, "embedding": "sounds"}, masked, sounds=NETWORK)
    text = {"text": {**CTC, "decode": False, "view": {"input": "b", "embed": "letters", "start": 1}}}
    with pytest.raises(UserError, match=r"objectives.text.view: this view has no features for the embedding network"):
        system({"count": 2, "embedding": "sounds"}, text, sounds=NETWORK, letters={"type": "embedding", "tokens": "b"})
    assert [tap for _, tap in reading(system({"count": 2}, masked, {"view": masked["masked"]["view"]})).reads] == ["router1", "router2"]


def test_a_balance_needs_experts_and_a_weight():
    with pytest.raises(UserError, match=r"objectives.balance: the encoder has no experts"):
        build.system(objectives={"asr_x": CTC, "balance": BALANCE}, streams={"x": {"sets": ["x"]}})
    with pytest.raises(UserError, match="objectives.balance: with `router: language` no router is trained"):
        system({"count": 2, "router": "language", "languages": ["en", "it"]})
    with pytest.raises(UserError, match="are all 0"):
        system({"count": 2}, balance=WEIGHTS)
    with pytest.raises(UserError, match="switch: Input should be greater than or equal to 0, got -1"):
        system({"count": 2}, balance={"switch": -1.0})


def test_a_balance_needs_a_router_in_its_view():
    with pytest.raises(UserError, match=r"objectives.balance: view.start: no block behind the first 1 has experts"):
        system({"count": 2, "blocks": [1]}, balance={"view": {"start": 1}})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tap": "router1"}, r"objectives.more.tap: `router1` does not exist"),
        ({"tap": "sounds", "head": "letters"}, r"states of sounds have 8 channels, but model.letters is of the encoder"),
        ({**CAUSAL, "tap": "sounds"}, r"more.tap: the states of sounds have 8 channels, but the tap frontend is of the encoder"),
    ],
)
def test_a_head_reads_states_of_its_width(changes, told):
    modules = {"sounds": NETWORK, "letters": {"type": "token_head"}}
    more = {"asr_x": {**CTC, "head": "letters"}, "more": {**({} if "type" in changes else CTC | {"decode": False}), **changes}}
    with pytest.raises(UserError, match=told):
        system({"count": 2, "embedding": "sounds"}, more, **modules)


def test_a_single_expert_has_a_load_in_the_log():
    made, batch = system({"count": 1}), utterances([120])
    _, loss, _ = build.learn(made, batch, "balance")
    tally = Tally(made.objectives, Collectives())
    tally.add("balance", batch, loss)
    tally.read(torch.zeros(0, dtype=torch.float64))
    assert mean(*tally.metrics()["balance"]["load_router1"]) == [1.0]


def test_utterances_without_a_state_are_in_no_report():
    made = system({"count": 2}).eval()

    def given(batch):
        return SimpleNamespace(system=made, exp="exp", open=lambda name: None, batches=lambda *_: [batch])

    use = expert_use(given(utterances([120, 3], langs=["en", "it"])), ["set"])
    assert {tap: list(langs) for tap, langs in use.items()} == {"router1": ["en"], "router2": ["en"]}
    assert use["router1"]["en"].states == 29
    with pytest.raises(UserError, match="set: no utterance in these sets that is long enough for a state"):
        expert_use(given(utterances([3])), ["set"])


def test_what_is_left_out_is_counted():
    made = system({"count": 3, "capacity": 0.5}).train()
    _, loss, encoded = build.learn(made, utterances([120, 90]), "balance")
    dropped, choices = loss.metrics["dropped"]
    assert choices == 2 * (29 + 21) and 0 < float(dropped) < choices
    most, expected = -(-0.5 * 50 // 3), 0.0
    for logits in next(iter(encoded.values())).states.values():
        counts = torch.bincount(torch.cat([logits[0, :29], logits[1, :21]]).argmax(-1), minlength=3)
        expected += float((counts - most).clamp(0).sum())
    assert float(dropped) == expected
    assert made.compares("asr_x") and not system({"count": 3}).compares("asr_x")
    assert "dropped" not in build.learn(made.eval(), utterances([120, 90]), "balance")[1].metrics


def test_dead_experts_are_told():
    objective = reading(system({"count": 4}))
    good = {"load_router1": [0.3, 0.3, 0.3, 0.1], "load_router2": [0.25] * 4}
    assert objective.warning(good) is None
    told = objective.warning(good | {"load_router2": [0.9, 0.1, 0.0, 0.0]})
    assert told.startswith("2 experts get nearly no states (router2 2 3); raise `importance` or `switch`")


def test_a_head_of_two_objectives_that_later_blocks_read():
    """The encoder's states are conditioned on it, so it belongs to what is merged."""
    objectives = {
        "asr_x": {**CTC, "head": "tokens"},
        "middle": {**CTC, "head": "tokens", "tap": "block1", "decode": False},
    }
    model = {"encoder": {**ENCODER, "condition": {"blocks": [1], "head": "tokens"}}, "tokens": {"type": "token_head"}, "cmvn": "none"}
    made = build.system(model={**model, "specaugment": None}, objectives=objectives, streams={"x": {"sets": ["x"]}})
    assert set(made.theta(["encoder"])) == {"encoder", "tokens"} and made.tokens.output.weight.shape == (12, 16)
    batch = utterances([120, 90])
    build.learn(made.train(), batch, "middle")[1].sum.backward()
    assert made.encoder.feedback.weight.grad is None
    build.learn(made, batch, "asr_x")[1].sum.backward()
    assert made.encoder.feedback.weight.grad.abs().sum() > 0
    with pytest.raises(UserError, match="model.encoder.condition.head: `token` does not exist"):
        broken = {**model, "encoder": {**ENCODER, "condition": {"blocks": [1], "head": "token"}}}
        build.system(model={**broken, "specaugment": None}, objectives=objectives, streams={"x": {"sets": ["x"]}})
