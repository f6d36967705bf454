"""What a measured step tells of independent batches equals autograd.grad per objective and batch, and leaves the step as it is."""

from __future__ import annotations

import itertools

import pytest
import torch

from m2asr.moo.build import build_level
from m2asr.seeds import seed_of
from m2asr.train.measure import split
from m2asr.train.step import JointStep
from m2asr.train_config import Phase, Weighting
from tests.objectives import build
from tests.train.test_step import UPPER, gradients, reference

LAYERS = {"subsampling": "encoder.subsampling.", "blocks.0": "encoder.blocks.0.", "blocks.1": "encoder.blocks.1.", "all": "encoder."}


def make(system, weighting, config=None, apart=False):
    config = config or build.config()
    streams = {name: objective.stream for name, objective in config.objectives.items()}
    config.weighting = Weighting(**weighting)
    levels = [build_level(level, apart=apart, reads={}) for level in config.levels_of(Phase(name="train"))]
    return JointStep(system.train(), streams, levels, dtype=torch.float32)


def long_draw(seed=0):
    """A draw whose halves have a loss for every objective: two windows of CPC in an utterance, and all targets."""
    draw = build.draw(seed)
    targets = {"b:text": [[1, 2], [3, 4, 5]] * 2, "a:text.x": [[2, 2, 3], [4], [5, 6], [7]]}
    draw["y"] = [build.batch([210, 200, 190, 180], targets, seed + 1)]
    draw["raw"] = [build.batch([220, 210, 200, 180], {}, seed + 2)]
    return draw


def turn_of(stream, step, draws, factors=(1, 0.2)):
    """The number of a step that halves this stream; None of one that halves none."""
    for number in range(100):
        found = step(draws, number, factors=factors, measure=True)
        names, all_layers = found.conflicts.names, found.conflicts.cross["all"]
        known = {step.streams[name] for place, name in enumerate(names) if not all_layers[place, place].isnan()}
        if known - FREE.get(step.levels[0].draws, set()) == ({stream} if stream else set()):
            return number, found
    raise AssertionError(f"{stream} has no turn in 100 steps")


FREE = {2: {"x", "y"}}  # streams whose objectives have a second batch anyway


def rows_of(system, name, draws, stream=None):
    """Gradients of an objective (P,) per layer, on each draw."""
    found = []
    for draw in draws:
        alone = reference(system, draw, name, stream)
        found.append(
            {layer: torch.cat([g.flatten() for key, g in alone.items() if key.startswith(start)]) for layer, start in LAYERS.items()}
        )
    return found


def cosine(one, other):
    return torch.nn.functional.cosine_similarity(one, other, dim=0)


def halves_of(draw, stream):
    """The two halves as draws of their own."""
    return [{stream: half} for half in split(draw[stream], 1, 0)]


@pytest.mark.parametrize("kind", ["mgda", "static"])
def test_halves_of_a_batch_equal_brute_force(kind):
    model = build.config().model.model_dump()
    model["encoder"]["dropout"] = 0.1  # each half has masks of its own
    system, draw = build.system(model=model), long_draw()
    step = make(system, {"type": kind}, apart=kind == "static")
    number, outcome = turn_of("y", step, [draw])
    names = outcome.conflicts.names
    assert names == [*UPPER, "cpc"]
    whole = {name: rows_of(system, name, [draw])[0] for name in names}
    halves = {name: rows_of(system, name, halves_of(draw, "y")) for name in ("asr_y", "st_y")}
    for layer, found in outcome.conflicts.cross.items():
        for (i, a), (j, b) in itertools.product(enumerate(names), enumerate(names)):
            lengths = whole[a][layer].norm() * whole[b][layer].norm()
            if step.streams[a] != step.streams[b]:  # batches of two streams are independent
                assert found[i, j] == pytest.approx(float(whole[a][layer] @ whole[b][layer] / lengths), rel=1e-6, abs=1e-9)
            elif step.streams[a] == "y":
                (a1, a2), (b1, b2) = ([half[layer] for half in halves[name]] for name in (a, b))
                assert found[i, j] == pytest.approx(float(cosine(a1, b2) + cosine(a2, b1)) / 2, rel=1e-6, abs=1e-9)
            else:
                assert found[i, j].isnan()
    assert outcome.conflicts.halved == ["asr_y", "st_y"]
    assert torch.allclose(outcome.conflicts.cross["all"], outcome.conflicts.cross["all"].T, equal_nan=True)


@pytest.mark.parametrize("raw_draws", [1, 2])
def test_two_batches_of_modo_equal_brute_force(raw_draws):
    """Rows of two batches are there anyway; cpc, whose gradient is a sum in row 0, is halved."""
    system, draws = build.system(), [long_draw(0), long_draw(10)]
    if raw_draws == 1:
        del draws[1]["raw"]
    step = make(system, {"type": "modo"})
    number, outcome = turn_of("raw", step, draws)
    names = outcome.conflicts.names
    two = {name: rows_of(system, name, draws) for name in UPPER}
    whole = rows_of(system, "cpc", draws[:raw_draws])
    halves = rows_of(system, "cpc", halves_of(draws[0], "raw"))
    for layer, found in outcome.conflicts.cross.items():
        length = {name: (two[name][0][layer].norm() * two[name][1][layer].norm()) ** 0.5 for name in UPPER}
        cpc = torch.stack([one[layer] for one in whole]).mean(0)
        for (i, a), (j, b) in itertools.product(enumerate(UPPER), enumerate(UPPER)):
            same = step.streams[a] == step.streams[b]
            pairs = [(0, 1), (1, 0)] if same else list(itertools.product((0, 1), (0, 1)))
            product = sum(two[a][one][layer] @ two[b][other][layer] for one, other in pairs) / len(pairs)
            assert found[i, j] == pytest.approx(float(product / length[a] / length[b]), rel=1e-6, abs=1e-9)
        place = names.index("cpc")
        for i, a in enumerate(UPPER):
            product = sum(one[layer] @ cpc for one in two[a]) / 2
            assert found[i, place] == pytest.approx(float(product / length[a] / cpc.norm()), rel=1e-5, abs=1e-9)
        assert found[place, place] == pytest.approx(float(cosine(halves[0][layer], halves[1][layer])), rel=1e-5, abs=1e-9)
    assert outcome.conflicts.halved == ["cpc"]


def test_a_level_that_is_added_up_is_measured_beside_those_kept_apart():
    """MGDA above a sum that reads the same stream."""
    sections = {name: section.model_dump() for name, section in build.config().objectives.items()}
    del sections["asr_x"]
    sections["cpc"]["stream"] = "y"
    config = build.config(objectives=sections)
    system, draw = build.system(), long_draw()
    step = make(system, {"type": "mgda"}, config)
    number = next(number for number in range(100) if seed_of(number, "halves") % 2 == 0)
    cross = step([draw], number, factors=(1, 0.2), measure=True).conflicts.cross["all"]
    assert not cross.isnan().any()
    names = ("asr_y", "st_y", "cpc")
    halves = {name: [row["all"] for row in rows_of(system, name, halves_of(draw, "y"), "y")] for name in names}
    for (i, a), (j, b) in itertools.combinations_with_replacement(enumerate(names), 2):
        found = [cosine(halves[a][0], halves[b][1]), cosine(halves[b][0], halves[a][1])]
        assert cross[i, j] == pytest.approx(float(sum(found) / 2), rel=1e-5, abs=1e-9), (a, b)


def test_every_stream_has_its_turn_and_none_where_a_target_lacks():
    system, draw = build.system(), long_draw()
    step = make(system, {"type": "mgda"})
    for stream in ("x", "y", "raw"):
        turn_of(stream, step, [draw])
    modo = make(system, {"type": "modo"})
    for stream in ("raw", None):  # a single one that needs it has every second turn
        turn_of(stream, modo, [draw, long_draw(10)])
    draw["y"] = build.draw()["y"]  # of st_y only one utterance has a target
    _, found = turn_of("y", step, [draw])
    names = found.conflicts.names
    cross = found.conflicts.cross["all"]
    assert not cross[names.index("asr_y"), names.index("asr_y")].isnan() and cross[names.index("st_y"), names.index("st_y")].isnan()
    assert list(found.conflicts.line()["cross"]) == [*LAYERS]


KINDS = [{"type": kind} for kind in ("mgda", "modo", "moco", "pcgrad")] + [{"type": "modo", "samples": 3}, {"type": "static"}]


@pytest.mark.parametrize("weighting", KINDS, ids=lambda one: "".join(map(str, one.values())))
def test_measuring_leaves_the_step_as_it_is(weighting):
    """Bit for bit, in float32, with dropout and masks: gradients, losses, weights and what comes after."""
    model = build.config().model.model_dump()
    model["encoder"]["dropout"] = 0.1
    found = []
    for measure in (False, True):
        system = build.system(torch.float32, model=model)
        step = make(system, weighting, build.config(model=model), apart=weighting["type"] == "static")
        results = []
        for number in range(4):
            draws = [build.draw(10 * number + index, torch.float32) for index in range(step.levels[0].draws)]
            outcome = step(draws, number, factors=(1, 0.2), measure=measure)
            step.applied(outcome)
            results.append((gradients(system), outcome.losses, outcome.weights, outcome.metrics, outcome.seconds))
            with torch.no_grad():
                for param in system.parameters():
                    if param.grad is not None:
                        param -= 0.1 * param.grad
        found.append(results)
    # static adds in another order where gradients are kept apart, as it always did
    tolerance = {"rtol": 1e-3, "atol": 1e-5} if weighting["type"] == "static" else {"rtol": 0, "atol": 0}
    for (plain, *others), (measured, *same) in zip(*found, strict=True):
        assert plain.keys() == measured.keys()
        for key, value in plain.items():
            assert (value is None) == (measured[key] is None)
            assert value is None or torch.allclose(value, measured[key], **tolerance), key
        if weighting["type"] != "static":
            assert others == same


def test_halves_hold_every_utterance_once():
    batch = build.draw()["raw"][0]
    for world, rank in ((1, 0), (2, 0), (2, 1)):
        first, second = split([batch, batch], world, rank)
        sizes = [[len(half) for half in halves] for halves in (first, second)]
        assert sizes == [[2, 2], [2, 2]]
        assert sorted(first[0].utt_ids + second[0].utt_ids) == sorted(batch.utt_ids)
        for half in (*first, *second):
            assert half.inputs["feats"].shape[1] == int(half.lengths["feats"].max())
    alone = split([build.batch([50], {})], 2, 1)  # the first utterance of an odd process goes to the second half
    assert [len(halves) for halves in alone] == [0, 1]
