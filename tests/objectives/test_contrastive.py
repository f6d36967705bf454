"""The contrastive loss: brute force, distractors, collapsed codes, padding, and what is refused."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from m2asr.errors import UserError
from m2asr.models.quantizers import perplexity
from m2asr.objectives.contrastive import draw_distractors
from m2asr.seeds import seed_of
from tests.objectives import build

ENCODER = {"type": "conformer", "blocks": 2, "dim": 16, "heads": 2, "kernel": 5, "subsampling": "windows", "dropout": 0.0}
KINDS = ("gumbel", "nearest", "projection")
VIEW = {"mask": {"probability": 0.2, "length": 3}}
CONTRASTIVE = {"type": "contrastive", "stream": "x", "quantizer": "codes", "tap": "block1", "view": VIEW}
MASKED_LM = {"type": "masked_lm", "stream": "x", "quantizer": "codes", "view": VIEW}


def system(kind="gumbel", dtype=torch.float64, mlm=False, codes=None, **options):
    """Two blocks, a quantizer, a contrastive objective, and perhaps masked language modelling on the same view."""
    view = {"mask": {**VIEW["mask"], "vector": "gap"}} if options.get("view") is None else options["view"]
    quantizer = {"type": f"{kind}_quantizer", "groups": 2, "entries": 6, "width": 8, **(codes or {})}
    model = {"encoder": ENCODER, "codes": quantizer, "cmvn": "none", "specaugment": None}
    if "gap" in str(view) or options.get("quantizer") == "gap":
        model["gap"] = "mask_vector"
    objectives = {"contrastive": {**CONTRASTIVE, **options, "view": view}}
    if mlm:
        objectives["mlm"] = {**MASKED_LM, "view": view}
    return build.system(dtype, model=model, objectives=objectives).train()


def learn(made, batch, name="contrastive"):
    return build.learn(made, batch, name)


def distractor_rows(made, batch, share):
    """The utterance and state of every taught step, and those of its distractors."""
    rows, steps = (share.tensors[name].numpy() for name in ("rows", "steps"))
    index, columns = share.tensors["index"].numpy(), share.tensors["distractors"].numpy()
    where = {}
    for slot, step in zip(share.tensors["slots"].tolist(), share.tensors["taught"].tolist(), strict=True):
        subset, column = divmod(slot, index.shape[1])
        assert index[subset, column] == step
        others = [index[subset, other] for other in columns[subset, column] if other >= 0]
        where[rows[step], steps[step]] = [(rows[other], steps[other]) for other in others]
    return where


@pytest.mark.parametrize(("negatives", "distractors"), [("utterance", 100), ("utterance", 4), ("batch", 5), ("batch", 100)])
def test_distractors_are_other_masked_steps(negatives, distractors):
    """Never padding, never the step itself, no step twice; of the same utterance, or of any."""
    made = system(negatives=negatives, distractors=distractors)
    batch = build.batch([300, 200, 60, 7, 3], {})
    share = made.prepare(batch, ["contrastive"]).shares["contrastive"]
    drawn = batch.drawn[made.objectives["contrastive"].views[0]]
    mask = drawn.tensors["mask"].numpy()
    masked = set(zip(*(where.tolist() for where in mask.nonzero()), strict=True))
    where = distractor_rows(made, batch, share)
    counts = mask.sum(1)
    assert set(where) == {step for step in masked if negatives == "batch" or counts[step[0]] > 1} and len(where) > 20
    for step, others in where.items():
        candidates = {other for other in masked - {step} if negatives == "batch" or other[0] == step[0]}
        assert set(others) <= candidates and len(set(others)) == len(others) == min(distractors, len(candidates))
        assert all(state < drawn.states[row] for row, state in others)
    assert share.weight == len(where)
    few = sum(len(others) < distractors for others in where.values())
    assert share.metrics["few"] == (few, len(where))
    if negatives == "batch":
        assert any(row != other for (row, _), others in where.items() for other, _ in others)


def test_every_choice_of_distractors_is_equally_likely():
    rng, count = np.random.default_rng(0), 3000
    drawn = Counter(tuple(sorted(draw_distractors(np.array([5]), 2, rng)[1])) for _ in range(count))
    pairs = list(itertools.combinations([0, 2, 3, 4], 2))
    assert set(drawn) == set(pairs)
    assert all(abs(drawn[pair] - count / 6) < 4 * (count * 5 / 36) ** 0.5 for pair in pairs)


def test_sets_of_any_size():
    rng = np.random.default_rng(0)
    assert draw_distractors(np.zeros(0, dtype=int), 3, rng).shape == (0, 0)
    assert draw_distractors(np.array([0, 0]), 3, rng).shape == (0, 0)
    assert draw_distractors(np.array([1]), 3, rng).shape == (1, 0)
    assert draw_distractors(np.array([1, 0, 3]), 5, rng).tolist() == [[-1, -1], [1, 2], [0, 2], [0, 1]]


@pytest.mark.parametrize("negatives", ["utterance", "batch"])
@pytest.mark.parametrize("kind", KINDS)
def test_loss_is_that_of_the_equations(kind, negatives):
    """Step by step, from the states, with distractors of the same codes left out."""
    made = system(kind, negatives=negatives, distractors=6)
    batch = build.batch([300, 200, 60, 7], {})
    share, loss, encoded = learn(made, batch)
    objective = made.objectives["contrastive"]
    states = encoded[objective.views[0]].states
    rows, steps = share.tensors["rows"], share.tensors["steps"]
    vectors, codes, probabilities, extra = made.codes(states["frontend"][rows, steps], seed_of(*batch.key, "codes"))
    queries = objective.projection(states["block1"][rows, steps])
    number = {pair: index for index, pair in enumerate(zip(rows.tolist(), steps.tolist(), strict=True))}
    total, chance, hits = 0.0, 0.0, 0
    for step, others in distractor_rows(made, batch, share).items():
        true = number[step]
        candidates = [true] + [number[other] for other in others if not torch.equal(codes[number[other]], codes[true])]
        logits = torch.stack([F.cosine_similarity(queries[true], vectors[other], dim=0) / 0.1 for other in candidates])
        total += -logits.log_softmax(0)[0] + extra[true]
        chance += 1 / len(candidates)
        hits += int(logits.argmax() == 0)
    assert chance > share.weight / 7  # some were left out
    diversity = {"gumbel": 0.1, "nearest": 5.0, "projection": 0.0}[kind]
    assert objective.diversity == diversity
    if diversity:
        total += diversity * share.weight * (12 - 6 * 2 * perplexity(probabilities) / 6) / 12
    assert torch.allclose(loss.sum, total, rtol=1e-10)
    assert loss.metrics["chance"][0].item() == pytest.approx(chance) and loss.metrics["chance"][1] == share.weight
    assert loss.metrics["accuracy"][0].item() == pytest.approx(hits)
    assert (extra.sum() > 0) == (kind == "nearest")


@pytest.mark.parametrize("kind", KINDS)
def test_codes_that_are_all_equal_hit_by_chance(kind):
    """A codebook that has collapsed leaves no distractor: nothing is learned, and accuracy is that of chance, 1."""
    made = system(kind, diversity=0.0)
    for value in [*made.codes.parameters(), *(value for value in made.codes.buffers() if value.is_floating_point())]:
        value.data.zero_()
    made.codes.eval()  # without noise
    share, loss, _ = learn(made, build.batch([300, 200], {}))
    assert loss.metrics["accuracy"][0].item() == loss.metrics["chance"][0].item() == share.weight > 0
    assert loss.metrics["perplexity"] == (1.0, 1.0)
    loss.sum.backward()
    assert not made.objectives["contrastive"].projection.weight.grad.any()


@pytest.mark.parametrize("negatives", ["utterance", "batch"])
@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind, negatives):
    made, results = system(kind, mlm=True, negatives=negatives), []
    for padding in (0, 70):
        batch = build.batch([300, 200, 60], {})
        batch.inputs["feats"] = torch.cat([batch.inputs["feats"], torch.full((3, padding, 8), 9.0, dtype=torch.float64)], dim=1)
        for name in ("contrastive", "mlm"):
            made.zero_grad()
            _, loss, _ = learn(made, batch, name)
            loss.sum.backward()
            results.append([loss.sum, *(p.grad for p in made.parameters() if p.grad is not None)])
    for before, after in zip(results[:2], results[2:], strict=True):
        assert len(before) == len(after) > 10
        assert all(torch.allclose(a, b, atol=1e-9) for a, b in zip(before, after, strict=True))


def test_utterances_without_a_distractor_are_skipped_and_counted():
    made = system(view={"mask": {"probability": 1.0, "length": 2}})  # all states are masked
    share, _, _ = learn(made, build.batch([120, 7, 3, 11], {}))  # 29, 1, 0 and 2 states: the second has no distractor
    assert share.metrics["skipped"] == (2.0, 4.0) and share.weight == 31 == share.metrics["few"][0]
    share, loss, _ = learn(made, build.batch([7, 3], {}))
    assert loss is None and share.weight == 0 and share.metrics["skipped"] == (2.0, 2.0)


@pytest.mark.parametrize("negatives", ["utterance", "batch"])
@pytest.mark.parametrize(("probability", "length"), [(1.0, 1), (1.0, 50), (1e-9, 3)])
def test_a_mask_of_everything_or_of_nothing(probability, length, negatives):
    made = system(mlm=True, negatives=negatives, view={"mask": {"probability": probability, "length": length}})
    batch = build.batch([120, 90], {})
    for name in ("contrastive", "mlm"):
        share, loss, _ = learn(made, batch, name)
        if probability < 1:
            assert loss is None and share.weight == 0 and share.metrics["skipped"] == (2.0, 2.0)
        else:
            states = batch.drawn[made.objectives[name].views[0]].states
            assert share.weight == states.sum() and share.metrics["skipped"] == (0.0, 2.0) and torch.isfinite(loss.sum)


def test_another_batch_has_other_noise():
    """Shares follow from the batch's key alone, and so does the quantizer's noise."""
    made, batches = system(), [build.batch([300], {}, seed) for seed in (0, 0, 1)]
    first, again, other = (made.prepare(batch, ["contrastive"]).shares["contrastive"] for batch in batches)
    assert first.sizes["seed"] == again.sizes["seed"] != other.sizes["seed"]
    assert all(torch.equal(value, again.tensors[name]) for name, value in first.tensors.items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"view": {}}, "view.mask: missing; only masked states are learned"),
        ({"tap": "frontend"}, "tap: `frontend` is before the mask"),
        ({"tap": "block3"}, "objectives.contrastive.tap: `block3` does not exist"),
        ({"quantizer": "cods"}, "objectives.contrastive.quantizer: `cods` does not exist; did you mean `codes`"),
        ({"quantizer": "gap"}, "objectives.contrastive.quantizer: model.gap has the type mask_vector; name a module of the type gumbel_"),
        ({"temperature": 0.0}, "temperature: Input should be greater than 0, got 0.0"),
        ({"distractors": 0}, "distractors: Input should be greater than or equal to 1, got 0"),
        ({"diversity": -0.1}, "diversity: Input should be greater than or equal to 0, got -0.1"),
    ],
)
def test_impossible_options_are_told_in_one_line(options, message):
    with pytest.raises(UserError, match=message) as raised:
        system(**options)
    assert "\n" not in str(raised.value)


def test_diversity_is_for_what_can_learn():
    with pytest.raises(UserError, match="diversity: model.codes is frozen, so its codes cannot be made equal"):
        system("projection", diversity=0.1)
    assert not system("projection").objectives["contrastive"].compares
    for kind in ("gumbel", "nearest"):
        assert system(kind).objectives["contrastive"].compares  # a mean over the batch is no sum over parts of it
        assert not system(kind, diversity=0.0).objectives["contrastive"].compares


def test_a_collapsed_codebook_is_told():
    objective = system(codes={"entries": 320}).objectives["contrastive"]
    for found, told in ((1.3, True), (3.1, True), (3.3, False), (float("nan"), False)):
        assert (objective.warning({"perplexity": found}) is not None) == told
    assert "the codebook of codes has collapsed: the perplexity is 1.3 of 320" in objective.warning({"perplexity": 1.3})
    assert objective.warning({}) is None
    assert system(codes={"entries": 6}).objectives["contrastive"].warning({"perplexity": 1.9}) is not None


@pytest.mark.parametrize("kind", ["gumbel", "nearest"])
def test_short_training_uses_many_codes(kind):
    """On random states, which all differ: the loss falls, and no codebook collapses."""
    made = system(kind, torch.float32, codes={"groups": 1, "entries": 32, "width": 16}, distractors=20)
    optimizer = torch.optim.AdamW(made.parameters(), 3e-3)
    losses = []
    for number in range(40):
        share, loss, _ = learn(made, build.batch([240, 240, 160], {}, number, dtype=torch.float32))
        optimizer.zero_grad()
        (loss.sum / share.weight).backward()
        optimizer.step()
        losses.append(loss.sum.item() / share.weight)
        codebook, _ = loss.metrics["perplexity"]
    assert codebook > 32 / 5
    assert sum(losses[-10:]) < sum(losses[:10])
