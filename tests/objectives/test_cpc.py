"""CPC: the context cannot see its target, chance on noise, skipped utterances, negatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from m2asr.data.batch import Drawn, Share
from m2asr.errors import UserError
from m2asr.features.fbank import Fbank
from m2asr.models.encoded import Encoded
from m2asr.objectives.cpc import CPC, choose_negatives
from m2asr.objectives.view import Cut, View, cut_windows
from tests.objectives import build


def test_the_context_does_not_depend_on_samples_of_the_target():
    """From the waveform to the context state, the Jacobian on the future's samples is exactly 0."""
    system = build.system(torch.float32)
    objective = CPC(dim=16, frame_shift=10.0, frame_length=25.0, context=0.4, future=0.3)
    context, future = objective.views
    wave = torch.randn(16000, generator=torch.Generator().manual_seed(0)).requires_grad_()
    frames = wave.unfold(0, 400, 160)  # (T, 400) the samples that each 25 ms window sees, 10 ms apart
    feats = frames @ torch.randn(400, 8, generator=torch.Generator().manual_seed(1)) / 20  # any feature of the window
    reached = {}
    for view in (context, future):
        piece = cut_windows(np.array([len(feats)]), view.cut, np.random.default_rng(5)).tensors["frames"]  # (1, L)
        states = system.encoder.frontend(feats[piece])
        states = system.encoder(states, torch.full((len(states),), states.shape[1]))["output"]
        (gradient,) = torch.autograd.grad(states.square().sum(), wave, retain_graph=True)
        reached[view.cut.piece] = gradient != 0
    assert reached["context"].any() and reached["future"].any()
    assert not (reached["context"] & reached["future"]).any()
    last, first = reached["context"].nonzero().max(), reached["future"].nonzero().min()
    assert 0 < first - last <= 4 * 160  # no overlap; the last frames of a piece that fill no state widen the gap a little


@pytest.mark.parametrize("windows", [1, 3])
def test_pieces_of_equal_seed_belong_together(windows):
    objective = CPC(dim=4, frame_shift=10.0, frame_length=25.0, context=0.4, future=0.3, windows=windows)
    context, future = (view.cut for view in objective.views)
    for seed in range(20):
        drawn = [cut_windows(np.array([250]), cut, np.random.default_rng(seed)) for cut in (context, future)]
        a, b = (pieces.tensors["frames"] for pieces in drawn)
        assert a.shape == (windows, 40) and b.shape == (windows, 30)
        assert (b[:, 0] - a[:, -1] == context.gap + 1).all() and context.gap == 2
        assert a.min() >= 0 and b.max() < 250
        assert (b[1:, 0] - b[:-1, -1] > context.gap).all()  # futures of an utterance share no sample
        for pieces, length in zip(drawn, (40, 30), strict=True):
            assert pieces.utterances.tolist() == pieces.tensors["rows"].tolist() == [0] * windows
            assert pieces.lengths.tolist() == [length] * windows


def test_the_pieces_of_a_batch_come_from_the_same_places():
    """As the system cuts them: every future begins right behind the gap after its context; what else is random about them differs."""
    system = build.system()
    context, future = system.objectives["cpc"].views
    assert context.key != future.key  # equal dropout would tell which belong together
    drawn = system.prepare(build.batch([250, 130, 40, 180], {}), ["cpc"]).drawn
    (a, b), gap = (drawn[view].tensors["frames"] for view in (context, future)), context.cut.gap
    assert len(a) > 6 and (b[:, 0] == a[:, -1] + gap + 1).all()
    assert drawn[context].utterances.tolist() == drawn[future].utterances.tolist()
    redrawn = system.prepare(build.batch([250, 130, 40, 180], {}, seed=1), ["cpc"]).drawn
    assert not torch.equal(redrawn[context].tensors["frames"], a)


def test_windows_fill_an_utterance_up_to_the_last_frame():
    cut = Cut(context=4, gap=2, future=3, piece="future", windows=3)
    lengths = np.array([8, 9, 13, 14, 19, 100])
    assert cut.count(lengths).tolist() == [0, 1, 1, 2, 3, 3]
    drawn = cut_windows(lengths, cut, np.random.default_rng(0))
    rows, frames = drawn.utterances, drawn.tensors["frames"].numpy()
    assert rows.tolist() == [1, 2, 3, 3, 4, 4, 4, 5, 5, 5]
    assert frames[rows == 3].tolist() == [[6, 7, 8], [11, 12, 13]]  # no room to choose
    assert frames[rows == 4].tolist() == [[6, 7, 8], [11, 12, 13], [16, 17, 18]]
    assert View(cut=cut).frames(lengths) == 3 * len(rows)


def run(batch, system=None):
    return build.learn((system or build.system()).train(), batch, "cpc")


def test_chance_on_noise():
    """Predictions that know nothing hit as often as a guess."""
    torch.manual_seed(0)
    objective = CPC(dim=16, frame_shift=10.0, frame_length=25.0)
    negatives = torch.from_numpy(choose_negatives(np.arange(40), ["en"] * 40, 7, "mixed", np.random.default_rng(0)))
    hits, count = 0.0, 0.0
    for _ in range(20):
        logits = objective.logits(torch.randn(40, 8, 16), torch.randn(40, 8, 16), negatives)
        hits += float((logits.argmax(-1) == 0).sum())
        count += logits.shape[0] * logits.shape[1]
    assert abs(hits / count - 1 / 8) < 4 * (1 / 8 / count) ** 0.5


def test_states_that_are_all_alike_hit_by_chance():
    """An encoder that has collapsed must not look as if it knew the answer."""
    cpc, batch = build.system().objectives["cpc"], build.batch([100, 100], {})
    alike = torch.eye(16, dtype=torch.float64)[0].expand(6, 3, 16)  # products with it are exact, so they are equal
    cpc.windows.choose = lambda drawn, rng: (np.array([0, 0, 0, 1, 1, 1]), {})
    cpc.windows.gather = lambda encoded, chosen: (alike[:, 0], alike)
    share = cpc.share(batch, np.random.default_rng(0))
    hits, count = cpc({}, share).metrics["accuracy"]
    chance, same = share.metrics["chance"]
    assert float(hits) / count == pytest.approx(float(chance) / same)
    assert 0 < float(chance) / same < 0.5


@pytest.mark.parametrize("negatives, taught", [("utterance", 2), ("batch", 2), ("mixed", 4)])
def test_windows_without_negatives_are_left_out(negatives, taught):
    """Two windows and no other of the language; three utterances of one window each, two of them in one language."""
    batch = build.batch([104, 72, 72, 72], {}, langs=["en", "it", "it", "ru"])
    system = build.system()
    system.objectives["cpc"].negatives = negatives
    share, loss, encoded = run(batch, system)
    assert share.weight == share.metrics["chance"][1] == taught
    steps = encoded[system.objectives["cpc"].views[1]].states["output"].shape[1]
    assert loss.metrics["accuracy"][1] == taught * steps


def test_the_place_in_a_piece_gives_nothing_away():
    """States that tell their place in the piece and nothing else, as the edges of a piece do, are no better than a guess."""
    objective = CPC(dim=8, frame_shift=10.0, frame_length=25.0, context=0.4, future=0.3)
    places = torch.eye(8)[:6].expand(9, 6, 8)  # (W, K, D), predicted without a fault
    rows = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    negatives = choose_negatives(rows, ["en"] * 3, 8, "mixed", np.random.default_rng(0))
    logits = objective.logits(places, places, torch.from_numpy(negatives))
    assert (logits[..., 0:1] <= logits.masked_fill(logits == float("-inf"), float("inf"))).all()


def test_short_utterances_are_skipped_and_counted():
    share, _, _ = run(build.batch([130, 72, 71, 40], {}))  # 40 + 2 + 30 frames are needed, and 32 for a second window
    assert share.metrics["skipped"] == (2.0, 4.0)
    assert share.weight == 3


def test_nothing_long_enough():
    """Nothing is cut and nothing learned, but the skipped utterances are counted."""
    share, loss, _ = run(build.batch([30, 20], {}))
    assert loss is None and share.weight == 0
    assert share.metrics["skipped"] == (2.0, 2.0)


def test_short_and_padded_utterances_are_never_negatives():
    """Utterances that are skipped, and how far the batch is padded, change nothing."""
    batch = build.batch([130, 100, 90], {})
    more = build.batch([130, 100, 90, 20, 30], {}, langs=["en"] * 5)
    more.inputs["feats"] = torch.cat([more.inputs["feats"], torch.full((5, 50, 8), 9.0, dtype=torch.float64)], dim=1)
    system = build.system()
    _, _, encoded = run(batch, system)
    # the same places are cut, since each row draws its own number
    share, _, encoded_more = run(more, system)
    for view in encoded:
        assert torch.allclose(encoded[view].states["output"], encoded_more[view].states["output"], atol=1e-10)
    assert more.drawn[system.objectives["cpc"].views[1]].utterances.tolist() == [0, 0, 1, 2]
    assert share.weight == 4 and share.metrics["skipped"] == (2.0, 5.0)


def test_negatives_come_from_the_utterance_and_from_others_in_its_language():
    langs = ["en", "it", "en", "en", "it", "ru"]
    rows = np.array([0, 0, 1, 2, 3, 4, 5])  # two windows of the first utterance
    mask = choose_negatives(rows, langs, 2, "mixed", np.random.default_rng(0))
    for window, row in enumerate(rows.tolist()):
        negatives = np.flatnonzero(mask[window]).tolist()
        of_utterance = [index for index in negatives if rows[index] == row]
        assert of_utterance == [index for index in range(7) if rows[index] == row and index != window]
        of_language = [index for index in negatives if rows[index] != row]
        assert all(langs[rows[index]] == langs[row] for index in of_language)
        assert len(of_language) == min(2, sum(langs[r] == langs[row] and r != row for r in rows.tolist()))


def test_negatives_of_other_utterances_are_drawn_anew():
    """Each of those that are possible is taken now and then, and not all of them are."""
    times = sum(choose_negatives(np.arange(6), ["en"] * 6, 2, "batch", np.random.default_rng(seed)) for seed in range(60))
    apart = ~np.eye(6, dtype=bool)
    assert (times[apart] > 8).all() and (times[apart] < 45).all() and (times[~apart] == 0).all()  # 24 expected


@pytest.mark.parametrize("predictor, maps", [("recursive", 1), ("per_step", 5)])
def test_predictors(predictor, maps):
    objective = CPC(dim=4, frame_shift=10.0, frame_length=25.0, predictor=predictor, steps=5)
    assert len(objective.predictors) == maps
    past = torch.randn(3, 4)
    predictions = objective.predict(past, 5)
    assert predictions.shape == (3, 5, 4)
    if predictor == "recursive":
        assert torch.allclose(predictions[:, 1], objective.predictors[0](objective.predictors[0](past)))


def test_equal_views_are_equal():
    first = CPC(dim=4, frame_shift=10.0, frame_length=25.0)
    second = CPC(dim=4, frame_shift=10.0, frame_length=25.0)
    assert first.views == second.views and View() == View()


def test_fbank_window_is_what_the_gap_assumes():
    """25 ms windows 10 ms apart: the last context frame ends 15 ms after its successor begins, so 2 frames are left out."""
    objective = CPC(dim=4, frame_shift=10.0, frame_length=25.0)
    assert objective.views[0].cut.gap == 2
    wave = torch.zeros(16000)
    wave[8000:] = torch.randn(8000, generator=torch.Generator().manual_seed(0)) * 1000
    feats = torch.as_tensor(Fbank()(wave.numpy()))
    silent = (feats == feats[0]).all(1).nonzero().max()  # the last frame that sees no noise
    assert silent * 160 + 400 <= 8000 < (silent + 1) * 160 + 400


def test_a_causal_context_does_not_depend_on_samples_of_its_targets():
    """Every context of a causal pass, against every target: no sample reaches both."""
    system = build.system(torch.float32)
    objective = CPC(dim=16, frame_shift=10.0, frame_length=25.0, context=0.3, future=0.2, encoding="causal", windows=3)
    wave = torch.randn(16000, generator=torch.Generator().manual_seed(0)).requires_grad_()
    frames = wave.unfold(0, 400, 160)  # (T, 400)
    feats = frames @ torch.randn(400, 8, generator=torch.Generator().manual_seed(1)) / 20
    states = system.encoder.frontend(feats[None])
    lengths = np.array([states.shape[1]])
    encoded = Encoded({"frontend": states, **system.encoder(states, torch.from_numpy(lengths), causal=True)}, torch.from_numpy(lengths))
    view, rng = objective.views[0], np.random.default_rng(0)
    rows, chosen = objective.windows.choose({view: Drawn(np.array([len(feats)]), np.arange(1), states=lengths)}, rng)
    past, targets = objective.windows.gather({view: encoded}, chosen)
    assert rows.tolist() == [0, 0, 0] and targets.shape == (3, 3, 16)
    for context, after in zip(past, targets, strict=True):
        (gradient,) = torch.autograd.grad(context.square().sum(), wave, retain_graph=True)
        past_samples = gradient.nonzero()
        assert past_samples.max() + 1 >= 0.3 * 16000
        (gradient,) = torch.autograd.grad(after.square().sum(), wave, retain_graph=True)
        target_samples = gradient.nonzero()
        assert 0 <= target_samples.min() - past_samples.max() - 1 < 4 * 160  # the next state would do worse
        assert target_samples.max() - target_samples.min() < 0.2 * 16000


def test_causal_windows_fill_an_utterance_up_to_the_last_state():
    windows = CPC(dim=16, frame_shift=10.0, frame_length=25.0, context=0.3, future=0.2, encoding="causal", windows=3).windows
    need = windows.first + windows.gap + windows.size
    lengths, view = np.array([0, need - 1, need, need + 1, need + 9]), windows.views[0]
    drawn = Drawn(lengths, np.arange(5), states=lengths)
    states = torch.arange(need + 9.0).expand(5, -1)[..., None]
    positions = set()
    for seed in range(30):
        rows, chosen = windows.choose({view: drawn}, np.random.default_rng(seed))
        past, targets = windows.gather({view: Encoded({"output": states, "frontend": states}, torch.from_numpy(lengths))}, chosen)
        assert rows.tolist() == [2, 3, 3, 4, 4, 4]
        assert (past[:, 0] >= windows.first).all() and (targets[:, 0, 0] == past[:, 0] + windows.gap).all()
        assert (targets[:, -1, 0] < torch.from_numpy(lengths[rows])).all()
        assert targets[2, -1, 0] == need and len(past[3:].unique()) == 3  # the last valid state; places that differ
        positions |= set(past[3:, 0].tolist())
    assert positions == {windows.first + offset for offset in range(10)}
    empty, _ = windows.choose({view: Drawn(lengths[:1], np.arange(1), states=lengths[:1])}, np.random.default_rng(0))
    assert empty.tolist() == []


def test_causal_objective_trains_and_ignores_padding():
    changes = {"type": "cpc", "stream": "raw", "level": "lower", "context": 0.3, "future": 0.2, "encoding": "causal"}
    objectives = {"asr_x": {"type": "ctc", "stream": "x", "tokens": "a"}, "cpc": changes}
    system = build.system(objectives=objectives)
    batch = build.batch([130, 90], {})
    share, loss, _ = run(batch, system)
    batch.inputs["feats"] = torch.cat([batch.inputs["feats"], torch.full((2, 40, 8), 9.0, dtype=torch.float64)], dim=1)
    again, padded, _ = run(batch, system)
    assert torch.allclose(loss.sum, padded.sum, atol=1e-10) and share.weight == again.weight == 16
    loss.sum.backward()
    assert system.encoder.blocks[0].attention.qkv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("flows", [True, False])
def test_targets_move_only_if_asked_to(flows):
    objective = CPC(dim=16, frame_shift=10.0, frame_length=25.0, context=0.4, future=0.3, target_gradient=flows, tap="x")
    context, future = objective.views
    states = {view: torch.randn(6, 4, 16, requires_grad=True) for view in (context, future)}
    encoded = {view: Encoded({"x": x}, torch.full((6,), 4)) for view, x in states.items()}
    tensors = {"negatives": ~torch.eye(6, dtype=torch.bool), "taught": torch.arange(6)}
    objective(encoded, Share(6.0, tensors=tensors)).sum.backward()
    assert states[context].grad is not None and (states[future].grad is not None) == flows


def test_kinds_of_negatives():
    rows = np.array([0, 0, 1, 1, 2])
    kinds = ("utterance", "batch", "mixed")
    masks = {kind: choose_negatives(rows, ["en"] * 3, 9, kind, np.random.default_rng(0)) for kind in kinds}
    assert masks["utterance"].sum(1).tolist() == [1, 1, 1, 1, 0]
    assert masks["batch"].sum(1).tolist() == [3, 3, 3, 3, 4]
    assert np.array_equal(masks["mixed"], masks["utterance"] | masks["batch"])


@pytest.mark.parametrize("encoding", ["cut", "causal"])
def test_pieces_without_a_state_are_refused(encoding):
    with pytest.raises(UserError, match="future: 0.06 s are too short for an encoder state; give at least 0.07 s"):
        CPC(dim=4, frame_shift=10.0, frame_length=25.0, context=0.4, future=0.06, encoding=encoding)
