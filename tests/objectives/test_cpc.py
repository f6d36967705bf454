"""CPC: the context cannot see its target, chance on noise, skipped utterances, negatives."""

from __future__ import annotations

import pytest
import torch

from m2asr.features.fbank import Fbank
from m2asr.objectives.cpc import CPC, _same_language
from m2asr.objectives.view import View, cut_pieces
from tests.objectives import build


def test_the_context_does_not_depend_on_samples_of_the_target():
    """From the waveform to the context state, the Jacobian on the future's samples is exactly 0."""
    system = build.system(torch.float32)
    objective = CPC(dim=16, frame_shift=10.0, frame_length=25.0, context=0.4, future=0.3)
    context, future = objective.views
    wave = torch.randn(16000, generator=torch.Generator().manual_seed(0)).requires_grad_()
    frames = wave.unfold(0, 400, 160)  # (T, 400) the samples that each 25 ms window sees, 10 ms apart
    feats = frames @ torch.randn(400, 8, generator=torch.Generator().manual_seed(1)) / 20  # any feature of the window
    lengths = torch.tensor([len(feats)])
    pieces = {}
    for view in (context, future):
        pieces[view.cut.piece], _, _ = cut_pieces(feats[None], lengths, view.cut, torch.Generator().manual_seed(5))
    seen = {}
    for name, piece in pieces.items():
        states = system.encoder(piece, torch.tensor([piece.shape[1]])).states["output"]
        (gradient,) = torch.autograd.grad(states.square().sum(), wave, retain_graph=True)
        seen[name] = gradient != 0
    assert seen["context"].any() and seen["future"].any()
    assert not (seen["context"] & seen["future"]).any()
    last, first = seen["context"].nonzero().max(), seen["future"].nonzero().min()
    assert 0 < first - last <= 4 * 160  # no overlap; the last frames of a piece that fill no state widen the gap a little


def test_pieces_of_equal_seed_belong_together():
    feats = torch.arange(200.0)[None, :, None]
    objective = CPC(dim=4, frame_shift=10.0, frame_length=25.0, context=0.4, future=0.3)
    context, future = (view.cut for view in objective.views)
    for seed in range(20):
        a, lengths, rows = cut_pieces(feats, torch.tensor([200]), context, torch.Generator().manual_seed(seed))
        b, _, _ = cut_pieces(feats, torch.tensor([200]), future, torch.Generator().manual_seed(seed))
        assert a.shape == (1, 40, 1) and b.shape == (1, 30, 1)
        assert b[0, 0, 0] - a[0, -1, 0] == context.gap + 1 == 3
        assert a[0, 0, 0] >= 0 and b[0, -1, 0] < 200
    assert rows.tolist() == [0] and lengths.tolist() == [40]


def run(one, system=None, seed=0):
    system = (system or build.system()).train()
    objective = system.objectives["cpc"]
    encoded = {view: system.encode(one, view, seed) for view in objective.views}
    torch.manual_seed(seed)
    return objective(encoded, one), encoded


def test_chance_on_noise():
    """Predictions that know nothing hit as often as a guess, and the loss is that of a guess or worse."""
    torch.manual_seed(0)
    objective = CPC(dim=16, frame_shift=10.0, frame_length=25.0)
    langs = ["en"] * 40
    hits, chance, count = 0.0, 0.0, 0
    for _ in range(20):
        logits = objective.logits(torch.randn(40, 8, 16), torch.randn(40, 8, 16), langs)
        hits += float((logits.argmax(-1) == 0).sum())
        chance += float((1 / (logits > float("-inf")).sum(-1)).sum())
        count += logits.shape[0] * logits.shape[1]
    assert abs(hits / count - chance / count) < 4 * (chance / count / count) ** 0.5


def test_short_utterances_are_skipped_and_counted():
    loss, _ = run(build.batch([130, 72, 71, 40], {}))  # 40 + 2 + 30 frames are needed
    assert loss.metrics["skipped"] == (2.0, 4.0)
    assert loss.weight == 2


def test_nothing_long_enough():
    loss, _ = run(build.batch([30, 20], {}))
    loss.sum.backward()
    assert loss.sum.item() == 0 and loss.weight == 0


def test_short_and_padded_utterances_are_never_negatives():
    """Utterances that are skipped, and how far the batch is padded, change nothing."""
    one = build.batch([130, 100, 90], {})
    more = build.batch([130, 100, 90, 20, 30], {}, langs=["en"] * 5)
    more.inputs["feats"] = torch.cat([more.inputs["feats"], torch.full((5, 50, 8), 9.0, dtype=torch.float64)], dim=1)
    system = build.system()
    _, encoded = run(one, system)
    # the same places are cut, since each row draws its own number
    loss, encoded_more = run(more, system)
    for view in encoded:
        assert torch.allclose(encoded[view].states["output"], encoded_more[view].states["output"], atol=1e-10)
    objective = system.objectives["cpc"]
    states = encoded[objective.views[1]].states["output"]
    logits = objective.logits(states, states, ["en"] * 3)
    assert logits.shape[-1] == 1 + states.shape[1] + 3
    assert loss.weight == 3


def test_negatives_across_utterances_share_the_language():
    torch.manual_seed(0)
    langs = ["en", "it", "en", "en", "it", "ru"]
    mask = _same_language(langs, most=2)
    for row, lang in enumerate(langs):
        chosen = mask[row].nonzero().squeeze(1).tolist()
        assert all(langs[other] == lang and other != row for other in chosen)
        assert len(chosen) == min(2, langs.count(lang) - 1)


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
    one = CPC(dim=4, frame_shift=10.0, frame_length=25.0)
    other = CPC(dim=4, frame_shift=10.0, frame_length=25.0)
    assert one.views == other.views and View() == View()


def test_fbank_window_is_what_the_gap_assumes():
    """25 ms windows 10 ms apart: the last context frame ends 15 ms after its successor begins, so 2 frames are left out."""
    objective = CPC(dim=4, frame_shift=10.0, frame_length=25.0)
    assert objective.views[0].cut.gap == 2
    wave = torch.zeros(16000)
    wave[8000:] = torch.randn(8000, generator=torch.Generator().manual_seed(0)) * 1000
    feats = torch.as_tensor(Fbank()(wave.numpy()))
    silent = (feats == feats[0]).all(1).nonzero().max()  # the last frame that sees no noise
    assert silent * 160 + 400 <= 8000 < (silent + 1) * 160 + 400
