"""Self-distillation at masked states: by hand, what has a gradient, and mistakes."""

from __future__ import annotations

import pytest
import torch

from m2asr.errors import UserError
from m2asr.objectives.system import System
from m2asr.objectives.view import View
from tests.objectives import build

ENCODER = {"type": "conformer", "blocks": 2, "dim": 16, "heads": 2, "kernel": 5, "subsampling": "windows", "dropout": 0.0}
MASK = {"probability": 0.1, "length": 3}
OBJECTIVES = {
    "pp": {"type": "ctc", "stream": "x", "tokens": "b", "head": "phone_head"},
    "msp": {"type": "self_distillation", "stream": "raw", "head": "phone_head", "view": {"mask": MASK}},
}
STREAMS = {"x": {"sets": ["x"]}, "raw": {"sets": ["x"]}}


def system(objectives: dict | None = None, dropout: float = 0.0, **changes: object) -> System:
    model = {
        "encoder": {**ENCODER, "dropout": dropout},
        "phones": {"type": "embedding", "tokens": "b"},
        "phone_head": {"type": "tied_head", "embedding": "phones"},
        "cmvn": "none",
        "specaugment": None,
        **changes,
    }
    return build.system(model=model, objectives=objectives or OBJECTIVES, streams=STREAMS)


def with_options(**options: object) -> dict:
    return {**OBJECTIVES, "msp": {**OBJECTIVES["msp"], **options}}


@pytest.mark.parametrize(("temperature", "per"), [(1.0, "frame"), (2.0, "utterance")])
def test_by_hand(temperature, per):
    made = system(with_options(temperature=temperature, per=per)).train()
    batch = build.batch([130, 100, 41], {})
    share, loss, encoded = build.learn(made, batch, "msp")
    student, teacher = made.objectives["msp"].views
    mask, plain = batch.drawn[student].tensors["mask"], build.encode(made.eval(), batch, View()).states["output"]
    expected, agree, count, mean = 0.0, 0, 0, torch.zeros(build.VOCAB["b"], dtype=torch.float64)
    for row, step in mask.nonzero().tolist():
        p, q = (
            (made.phone_head(states[row, step]) / temperature).log_softmax(-1).detach()
            for states in (plain, encoded[student].states["output"])
        )
        expected += temperature**2 * float((p.exp() * (p - q)).sum())
        agree, count, mean = agree + int(p.argmax() == q.argmax()), count + 1, mean + p.exp()
    assert count > 10 and float(loss.sum.detach()) == pytest.approx(expected, rel=1e-9)
    assert share.weight == (count if per == "frame" else int(mask.any(1).sum()))
    assert float(loss.metrics["agreement"][0]) == agree and loss.metrics["agreement"][1] == count
    mean /= count
    assert float(loss.metrics["perplexity"][0]) == pytest.approx(float((-(mean * mean.log()).sum()).exp()), rel=1e-9)


def test_padding_changes_nothing():
    found, objectives = [], with_options(view={"mask": {**MASK, "probability": 0.3, "vector": "hidden"}})
    for padding in (0, 43):
        made, batch = system(objectives, hidden={"type": "mask_vector"}).train(), build.batch([130, 100], {})
        batch.inputs["feats"] = torch.nn.functional.pad(batch.inputs["feats"], (0, 0, 0, padding), value=5.0)
        share, loss, _ = build.learn(made, batch, "msp")
        loss.sum.backward()
        found.append((share.weight, loss.sum.detach(), *(param.grad for param in made.encoder.parameters() if param.grad is not None)))
    for plain, padded in zip(*found, strict=True):
        torch.testing.assert_close(padded, plain, rtol=1e-10, atol=1e-12)


def test_only_the_student_has_a_gradient():
    made = system().train()
    _, loss, encoded = build.learn(made, build.batch([130, 100], {}), "msp")
    student, teacher = made.objectives["msp"].views
    assert encoded[student].states["output"].requires_grad and not encoded[teacher].states["output"].requires_grad
    loss.sum.backward()
    assert made.encoder.blocks[0].norm.weight.grad.abs().sum() > 0
    assert all(param.grad is None for module in (made.phones, made.phone_head) for param in module.parameters())


def test_the_teacher_has_no_dropout_and_no_augmentation():
    """It equals the network in evaluation, whatever is drawn for the student."""
    augment = {"freq_masks": 1, "freq_width": 4, "time_masks": 1, "time_width": 20}
    made, batch = system(dropout=0.3, specaugment=augment).train(), build.batch([130, 100], {})
    _, _, encoded = build.learn(made, batch, "msp")
    teacher = made.objectives["msp"].teacher
    expected = build.encode(made.eval(), batch, View()).states["output"]
    torch.testing.assert_close(encoded[teacher].states["output"], expected, rtol=0, atol=1e-12)


def test_without_difference_there_is_no_loss():
    """Where the mask changes nothing, teacher and student are equal: KL is 0, and so is its gradient."""
    made = system().train()
    made._masked = lambda states, mask, view: states
    _, loss, _ = build.learn(made, build.batch([130, 100], {}), "msp")
    assert abs(float(loss.sum.detach())) < 1e-12
    loss.sum.backward()
    assert all(float(param.grad.abs().max()) < 1e-9 for param in made.encoder.parameters() if param.grad is not None)
    assert float(loss.metrics["agreement"][0]) == loss.metrics["agreement"][1]


def test_nothing_masked_is_nothing_to_learn():
    share, loss, _ = build.learn(system(), build.batch([6, 6], {}), "msp")
    assert share.weight == 0 and loss is None and share.metrics["skipped"] == (2.0, 2.0)


def test_a_teacher_that_says_one_token_is_told():
    objective = system().objectives["msp"]
    assert objective.warning({"perplexity": 4.0}) is None
    assert objective.warning({"perplexity": 1.01}).startswith("the teacher has collapsed")


@pytest.mark.parametrize(
    ("objectives", "told"),
    [
        (with_options(view=None), "objectives.msp: view.mask: missing"),
        (with_options(tap="frontend"), "objectives.msp: tap: `frontend` is before the mask"),
        (with_options(temperature=0.0), "temperature: Input should be greater than 0, got 0"),
        (with_options(decay=0.5), "decay: only for `teacher: ema`"),
        (with_options(teacher="ema", decay=1.0), "decay: Input should be less than 1, got 1.0"),
        (with_options(head="phones"), "objectives.msp.head: model.phones has the type embedding"),
        ({**OBJECTIVES, "pp": {"type": "ctc", "stream": "x", "tokens": "a"}}, "no objective trains it; .* a head in one of the type ctc"),
        ({**OBJECTIVES, "pp": {**OBJECTIVES["pp"], "tokens": "a"}}, "objectives.pp.tokens: model.phones has the tokens b, not a"),
    ],
)
def test_mistakes_are_one_line(objectives, told):
    with pytest.raises(UserError, match=told):
        system(objectives)


def test_a_tied_head_needs_an_embedding():
    with pytest.raises(UserError, match="model.phone_head.embedding: model.encoder has the type conformer"):
        system(phone_head={"type": "tied_head", "embedding": "encoder"})
    with pytest.raises(UserError, match="model.phone_head.embedding: `phone` does not exist"):
        system(phone_head={"type": "tied_head", "embedding": "phone"})


def taught(steps: int = 3, **options: object) -> tuple[System, list[float]]:
    """A system after some steps of plain gradient descent on both losses, and the losses of MSP."""
    made, losses = system(with_options(**options)).train(), []
    made.objectives["msp"].restart()
    for step in range(steps):
        speech = build.batch([130, 100], {"b:text": [[2, 3, 4], [5]]}, seed=step)
        found = {name: build.learn(made, speech, name)[1].sum for name in ("pp", "msp")}
        losses.append(float(found["msp"].detach()))
        made.zero_grad()
        sum(found.values()).backward()
        with torch.no_grad():
            for param in made.parameters():
                param -= 0.01 * (0 if param.grad is None else param.grad)
        made.objectives["msp"].after_step()
    return made, losses


def test_a_mean_with_decay_0_is_the_same_teacher():
    same, follower, slow = (taught(**options)[1] for options in ({}, {"teacher": "ema", "decay": 0.0}, {"teacher": "ema", "decay": 0.9}))
    assert follower == same and slow[0] == same[0] and slow[2] != same[2]


def test_the_mean_by_hand():
    """Of the encoder, the head, and the embedding that it is tied to; the final LayerNorm is in it."""
    made = system(with_options(teacher="ema", decay=0.9)).train()
    average = made.objectives["msp"].average
    average.restart()
    expected = {name: value.clone() for name, value in average.state_dict().items()}
    assert {name.split(".")[0] for name in expected} == {"encoder", "phone_head", "phones"}
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        with torch.no_grad():
            for param in made.parameters():
                param += torch.randn(param.shape, generator=generator, dtype=param.dtype)
        average.after_step()
        for name, value in expected.items():
            value.copy_(0.9 * value + 0.1 * made.state_dict()[name])
    for name, value in average.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-12)


def test_the_mean_has_no_gradient_and_no_optimizer():
    made = system(with_options(teacher="ema")).train()
    made.objectives["msp"].restart()
    build.learn(made, build.batch([130, 100], {}), "msp")[1].sum.backward()
    assert not list(made.objectives["msp"].parameters()) and all(not value.requires_grad for value in made.objectives["msp"].buffers())
    assert not any("average" in name for group in made.groups(["encoder"]).values() for name, _ in group)
    assert any(name.startswith("objectives.msp.average.encoder.blocks.0") for name in made.state_dict())


def test_the_mean_of_spread_experts_is_refused():
    model = {"encoder": ENCODER, "phones": {"type": "embedding", "tokens": "b"}, "phone_head": {"type": "tied_head", "embedding": "phones"}}
    with pytest.raises(UserError, match="train.expert_parallel: not with `teacher: ema`, which is the mean of a whole network"):
        build.system(model=model, objectives=with_options(teacher="ema"), streams=STREAMS, train={"expert_parallel": True})
