"""The system: padding, utterance independence, what is random, masks, tokens as input, normalization, parameters and their names."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from m2asr.data.batch import Batch
from m2asr.models.layers import Dropout
from m2asr.objectives.system import MASK_SCALE
from m2asr.objectives.view import Cut, Mask, View
from tests.objectives import build

SPANS = {"probability": 0.3, "length": 2}
MASKED, RANDOM = View(mask=Mask(0.3, 2, "gap")), View(mask=Mask(0.3, 2))
TOKENS = View("b:text", "phones", start=1)
MODULES = {"gap": {"type": "mask_vector"}, "phones": {"type": "embedding", "tokens": "b"}}
READ_PHONES = {"input": "b", "embed": "phones", "start": 1}
OBJECTIVES = {
    "plain": {"type": "ctc", "stream": "x", "tokens": "a"},
    "masked": {"type": "ctc", "stream": "x", "tokens": "a", "view": {"mask": {**SPANS, "vector": "gap"}}},
    "spoken": {"type": "ctc", "stream": "y", "tokens": "a", "text": "text.x", "decode": False, "view": READ_PHONES},
}


def states(system, batch, view=None, taps=("output",)):
    return build.encode(system, batch, view, taps).states[taps[0]]


def noisy(dropout=0.2, augment=None):
    """A system with dropout and augmentation."""
    model = build.config().model.model_dump()
    model["encoder"]["dropout"], model["specaugment"] = dropout, augment
    return build.system(model=model).train()


def full(objectives=OBJECTIVES):
    """A system with a vector for masked states, and an embedding of the tokens b, without dropout."""
    return build.system(model={**build.config().model.model_dump(), **MODULES}, objectives=objectives)


def entering(system):
    """The arguments with which the blocks of the encoder are called, call by call."""
    calls = []
    system.encoder.register_forward_pre_hook(lambda _, arguments: calls.append(arguments))
    return calls


@pytest.mark.parametrize("cmvn", ["global", "utterance", "none"])
def test_padding_and_neighbours_change_no_state(cmvn):
    system = build.system()
    system.cmvn = cmvn
    system.eval()
    together = build.batch([120, 90, 41], {})
    for row, length in enumerate([120, 90, 41]):
        feats = {"feats": together.inputs["feats"][row : row + 1, :length]}
        alone = dataclasses.replace(together, inputs=feats, lengths={"feats": torch.tensor([length])}, drawn={})
        expected = states(system, alone)[0]
        assert torch.allclose(states(system, together)[row, : len(expected)], expected, atol=1e-10)


@pytest.mark.parametrize("frames, padded", [([83, 83], False), ([83, 80], True), ([90, 90], True)])
def test_a_batch_without_padding_is_encoded_without_masks(frames, padded):
    """83 frames are 20 states; 90 are 21, and padded to 24."""
    system = build.system().eval()
    calls = entering(system)
    states(system, build.batch(frames, {}))
    assert calls[0][5] is padded
    states(system, build.batch(frames, {}), View(cut=Cut(40, 2, 30, "context")))
    assert calls[1][5] is False


@pytest.mark.parametrize("dropout, augment", [(0.2, None), (0.0, {"time_width": 20}), (0.2, {"time_width": 20})])
def test_equal_keys_give_equal_noise_whatever_came_before(dropout, augment):
    system = noisy(dropout, augment)
    first = states(system, build.batch([120, 90], {}))
    torch.rand(17)
    assert torch.equal(first, states(system, build.batch([120, 90], {})))
    batch = build.batch([120, 90], {})
    other = dataclasses.replace(batch, key=(1, "x", 0, 5))
    assert not torch.equal(first, states(system, other))
    assert torch.equal(states(system, batch, View(train=False)), states(system.eval(), batch))


def dropped(system, view, monkeypatch):
    """Which entries of its layers the dropout of a view keeps."""
    masks, keep = [], Dropout.keep
    with monkeypatch.context() as patch:
        patch.setattr(Dropout, "keep", lambda self, x: masks.append(keep(self, x)) or masks[-1])
        states(system, build.batch([130, 130], {}), view)
    return masks


def test_every_view_has_dropout_of_its_own(monkeypatch):
    """But for the gradient: states are the same with one and without."""
    system, batch = noisy(), build.batch([130, 130], {})
    first, again, causal = (dropped(system, view, monkeypatch) for view in (View(), View(grad=False), View(causal=True)))
    assert len(first) == len(causal) > 5
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, causal, strict=True))
    assert torch.equal(states(system, batch), states(system, batch, View(grad=False)))


def test_every_view_is_augmented_in_its_own_way():
    system = noisy(0.0, {"freq_masks": 0, "time_width": 20, "time_share": 1.0})
    batch, views = build.batch([120, 90], {}), (View(), RANDOM)
    augmented = [states(system, batch, view, ["frontend"]) for view in views]
    assert not torch.equal(*augmented)
    system.augment = None
    assert torch.equal(*(states(system, batch, view, ["frontend"]) for view in views))
    assert not any(torch.equal(states(system, batch, View(), ["frontend"]), states_of_view) for states_of_view in augmented)


@pytest.mark.parametrize("window", [None, [5, 5], [5, 0], [0, 0]])
@pytest.mark.parametrize("frames", [130, 700])
def test_a_state_of_a_causal_view_depends_on_no_later_frame(window, frames):
    """State s reads the frames 4 s to 4 s + 6, and states before it: with other frames from 80 on, states up to 18 stay, and 19 changes."""
    model = build.config().model.model_dump()
    model["encoder"]["window"] = window
    system, batch = build.system(model=model).eval(), build.batch([frames, frames - 20], {})
    before = states(system, batch, View(causal=True))
    batch.inputs["feats"][0, 80:] += 1.0
    after = states(system, dataclasses.replace(batch, drawn={}), View(causal=True))
    assert torch.equal(before[0, :19], after[0, :19]) and torch.equal(before[1], after[1])
    assert (before[0, 19:30] != after[0, 19:30]).any(-1).all()
    both = states(system, batch, View())
    assert not torch.allclose(both[0, :19], after[0, :19])


@pytest.mark.parametrize("encoding", ["cut", "causal"])
def test_what_an_objective_draws_follows_the_key(encoding):
    """On the host, by the batch's key and the objective's name; the global generators are neither read nor moved."""
    options = {"context": 0.4, "future": 0.3, "encoding": encoding, "negatives": "batch", "windows": 1}
    system = build.system(objectives={"cpc": {"type": "cpc", "stream": "raw", **options}})

    def drawn(seed, name="cpc"):
        batch = build.batch([130] * 8, {})
        batch.key = (1, "raw", 0, seed)
        before = torch.get_rng_state(), np.random.get_state()[1]
        share = system.prepare(batch, [name]).shares[name]
        assert torch.equal(before[0], torch.get_rng_state()) and np.array_equal(before[1], np.random.get_state()[1])
        return share.tensors["negatives"]

    assert torch.equal(drawn(0), drawn(0)) and not torch.equal(drawn(0), drawn(1))
    system.objectives["other"] = system.objectives["cpc"]
    assert not torch.equal(drawn(0), drawn(0, "other"))


def test_a_view_is_drawn_once_however_many_objectives_read_it():
    system, batch = full({**OBJECTIVES, "too": OBJECTIVES["masked"]}), build.batch([120, 90], {"a:text": [[2], [3]]})
    system.prepare(batch, ["masked"])
    drawn = dict(batch.drawn)
    system.prepare(batch, ["plain", "too"])
    assert set(drawn) == {MASKED} and batch.drawn[MASKED] is drawn[MASKED]
    assert set(batch.drawn) == {MASKED, View()} and set(batch.shares) == {"masked", "plain", "too"}


def test_masks_follow_the_key_and_the_view():
    system, other = full(), dataclasses.replace(RANDOM, causal=True)

    def drawn(view, seed=0):
        return system.prepare(build.batch([400, 300], {}, seed), views=[view]).drawn[view].tensors["mask"]

    assert torch.equal(drawn(RANDOM), drawn(RANDOM))
    assert not torch.equal(drawn(RANDOM), drawn(RANDOM, seed=1)) and not torch.equal(drawn(RANDOM), drawn(other))


@pytest.mark.parametrize("view", [MASKED, RANDOM], ids=["learned", "random"])
def test_a_masked_view_replaces_the_masked_states_and_no_others(view):
    system, batch = full().eval(), build.batch([120, 90, 41], {})
    calls = entering(system)
    encoded = build.encode(system, batch, view, ["frontend", "output"])
    (entered, lengths, *_), mask = calls[0], encoded.mask
    assert mask.shape == entered.shape[:2] and mask.any() and not mask[:, : int(lengths.min())].all()
    assert not (mask & (torch.arange(mask.shape[1]) >= lengths[:, None])).any()
    before = states(system, batch, taps=["frontend"])
    assert torch.equal(encoded.states["frontend"], before)  # the tap tells what was masked
    assert torch.equal(entered[~mask], before[~mask])
    if view is MASKED:
        assert (entered[mask] == system.gap.vector).all()
    else:
        vectors = entered[mask]  # (M, D)
        assert len(vectors.unique(dim=0)) == len(vectors) and vectors.std().item() == pytest.approx(MASK_SCALE, rel=0.2)
        assert vectors.mean().abs() < 0.02 and not (vectors == before[mask]).any()
    assert not torch.allclose(encoded.states["output"], states(system, batch))
    assert build.encode(system, batch).mask is None


def test_what_is_masked_teaches_the_vector_and_what_is_not_the_front_end():
    """With every state masked nothing of the input is left."""
    system, batch = full(), build.batch([120, 90, 41], {"a:text": [[2, 3], [4], [5]]})
    for probability, front in ((0.3, True), (1.0, False)):
        system.zero_grad()
        masked = dataclasses.replace(MASKED, mask=Mask(probability, 2, "gap"))
        encoded = build.encode(system, batch, masked)
        valid = torch.arange(encoded.states["output"].shape[1]) < encoded.lengths[:, None]
        encoded.states["output"][valid].square().sum().backward()
        assert system.gap.vector.grad.abs().sum() > 0
        touched = [parameter.grad is not None and bool(parameter.grad.any()) for parameter in system.encoder.subsampling.parameters()]
        assert any(touched) is front
    system.zero_grad()
    share, loss, encoded = build.learn(system, batch, "masked")
    loss.sum.backward()
    assert system.gap.vector.grad.abs().sum() > 0 and encoded[MASKED].mask.any() and share.weight == 4
    system.zero_grad()
    build.learn(system, batch, "plain")[1].sum.backward()
    assert system.gap.vector.grad is None


def spoken(rows, lengths=None, width=0, targets=((2, 3), (4, 4), (5,))):
    """Utterances that are tokens b only, padded with their last token; a target of each."""
    width = max(width, *map(len, rows))
    lengths = lengths or [len(row) for row in rows]
    return Batch(
        inputs={"b:text": torch.tensor([list(row) + [row[-1]] * (width - len(row)) for row in rows])},
        lengths={"b:text": torch.tensor(lengths)},
        targets={"a:text.x": torch.tensor([list(target) + [0] * (2 - len(target)) for target in targets[: len(rows)]])},
        target_lengths={"a:text.x": torch.tensor([len(target) for target in targets[: len(rows)]])},
        lang=["en"] * len(rows),
        speakers=["s"] * len(rows),
        utt_ids=[str(number) for number in range(len(rows))],
        key=(1, "y", 0, 0),
    )


PHONES = [[1, 2, 3, 4, 5, 6, 7], [3, 3, 8, 1], [5, 2]]


@pytest.mark.parametrize("width", [7, 13])
def test_tokens_enter_the_encoder_at_a_block(width):
    """By hand: the embedding, and the second of two blocks. No utterance sees another or the padding, and no feature is normalized."""
    system = full().train()
    system.cmvn, system.mean, system.scale = "utterance", system.mean + 7, system.scale * 3
    encoded = build.encode(system, spoken(PHONES, width=width), TOKENS, ["frontend", "block2", "output"])
    assert encoded.lengths.tolist() == [7, 4, 2] and encoded.mask is None
    for row, tokens in enumerate(PHONES):
        embedded = system.phones.table.weight[tokens][None]  # (1, U, D)
        expected = system.encoder.blocks[1](embedded, None, None)[0][0]
        torch.testing.assert_close(encoded.states["frontend"][row, : len(tokens)], embedded[0], rtol=0, atol=0)
        torch.testing.assert_close(encoded.states["output"][row, : len(tokens)], expected, rtol=0, atol=1e-10)
    assert torch.equal(encoded.states["block2"], encoded.states["output"])


def test_what_reads_tokens_teaches_the_embedding_and_the_blocks_behind():
    system, batch = full(), spoken(PHONES, width=13)
    share, loss, encoded = build.learn(system, batch, "spoken")
    total = 0.0
    for row, target in enumerate([[2, 3], [4, 4], [5]]):
        log_probs = system.objectives["spoken"].log_probs(encoded[TOKENS])[0][row, : len(PHONES[row])]
        sizes = torch.tensor(len(log_probs)), torch.tensor(len(target))
        total += F.ctc_loss(log_probs, torch.tensor(target), *sizes, reduction="sum").item()
    assert share.weight == 5 and loss.sum.item() == pytest.approx(total, rel=1e-9)
    loss.sum.backward()
    embedded = system.phones.table.weight.grad.abs().sum(1) > 0
    assert embedded.nonzero().flatten().tolist() == sorted({token for row in PHONES for token in row})
    assert all(parameter.grad is not None for parameter in system.encoder.blocks[1].parameters())
    skipped = [*system.encoder.blocks[0].parameters(), *system.encoder.subsampling.parameters()]
    assert all(parameter.grad is None for parameter in skipped)


def test_masked_tokens():
    """Their masks lie within the tokens of an utterance, however far they are padded."""
    system, view = full().eval(), dataclasses.replace(TOKENS, mask=Mask(0.3, 2, "gap"))
    calls = entering(system)
    encoded = build.encode(system, spoken(PHONES, width=13), view, ["frontend", "output"])
    mask = encoded.mask
    assert mask.any() and not (mask & (torch.arange(mask.shape[1]) >= encoded.lengths[:, None])).any()
    assert (calls[0][0][mask] == system.gap.vector).all() and torch.equal(calls[0][0][~mask], encoded.states["frontend"][~mask])


@pytest.mark.parametrize("width", [0, 3])
def test_texts_without_tokens_have_no_states_and_break_nothing(width):
    """As a dev set may hold them; with a width of 0 where no utterance of a batch has a token."""
    system, batch = full(), spoken(PHONES, lengths=[0, 0, 0])
    batch.inputs["b:text"] = batch.inputs["b:text"][:, :width]
    for view in (TOKENS, dataclasses.replace(TOKENS, causal=True, mask=Mask(0.3, 2, "gap"))):
        encoded = build.encode(system, batch, view)
        assert encoded.lengths.tolist() == [0, 0, 0] and torch.isfinite(encoded.states["output"]).all()
    share, loss, _ = build.learn(system, batch, "spoken")
    assert loss is None and share.metrics["unrepresentable"] == (3.0, 3.0)


def test_features_enter_the_encoder_at_a_block():
    system, batch = build.system().eval(), build.batch([83, 83], {})
    encoded = build.encode(system, batch, View(start=1), ["frontend", "output"])
    expected = system.encoder.blocks[1](encoded.states["frontend"], None, None)[0]
    torch.testing.assert_close(encoded.states["output"], expected, rtol=0, atol=1e-10)


def test_only_the_taps_that_are_asked_for_are_kept():
    system, batch = build.system(), build.batch([100], {})
    for taps in (["block1"], ["frontend", "output"], []):
        assert list(build.encode(system, batch, taps=taps).states) == taps


@pytest.mark.parametrize("piece", ["context", "future"])
def test_a_cut_view_encodes_the_frames_that_were_drawn(piece):
    system, batch, view = build.system().eval(), build.batch([250, 100, 30, 150], {}), View(cut=Cut(43, 2, 31, piece, windows=3))
    encoded = build.encode(system, batch, view)
    drawn = batch.drawn[view]
    assert len(drawn.utterances) == 7 == len(encoded.states["output"])
    for window, (utterance, frames) in enumerate(zip(drawn.utterances, drawn.tensors["frames"].tolist(), strict=True)):
        front = system.encoder.frontend(batch.inputs["feats"][utterance, frames][None])
        expected = system.encoder(front, torch.tensor([front.shape[1]]))["output"][0]
        torch.testing.assert_close(encoded.states["output"][window], expected, rtol=0, atol=1e-10)
        assert drawn.states[window] == encoded.lengths[window] == len(expected)


def test_a_view_without_gradient_has_none():
    system, batch = build.system().train(), build.batch([100], {})
    assert states(system, batch).requires_grad and not states(system, batch, View(grad=False)).requires_grad


def test_every_parameter_is_in_one_group():
    system = build.system()
    groups = system.groups(system.theta(["encoder"]))
    names = [name for group in groups.values() for name, _ in group]
    assert sorted(names) == sorted(name for name, _ in system.named_parameters())
    assert all(name.startswith("objectives.cpc") for name, _ in groups["ssl"])


def test_what_stands_before_the_encoder_belongs_to_theta():
    """Gradients reach it through the encoder; names of weights begin with the module's."""
    system = full()
    theta = system.theta(["encoder"])
    assert list(theta) == list(system.module_names) == ["encoder", "gap", "phones"]
    assert list(system.theta(["phones"])) == ["phones"]
    groups = system.groups(theta)
    assert {name.split(".")[0] for name, _ in groups["backbone"]} == {"encoder", "gap", "phones"}
    assert {tuple(name.split(".")[:2]) for name, _ in groups["heads"]} == {("objectives", name) for name in OBJECTIVES}
    assert {name.split(".")[0] for name in system.state_dict()} == {"mean", "scale", "encoder", "gap", "phones", "objectives"}
    assert [name for name, _ in system.module_parameters()] == ["encoder", "gap", "phones", *OBJECTIVES]


def test_noisy_tokens_are_drawn_for_a_batch_and_teach_the_mask():
    """The key of the batch decides them, so they differ between epochs and are the same after a resume and in every process."""
    objectives = {**OBJECTIVES, "spoken": {**OBJECTIVES["spoken"], "view": {**READ_PHONES, "noise": {"share": 0.5, "random": 0.2}}}}
    system, plain = full(objectives), full()
    (view,) = system.objectives["spoken"].views
    assert system.phones.mask is not None and set(system.state_dict()) - set(plain.state_dict()) == {"phones.mask"}
    noisy = []
    for epoch in (0, 0, 1):
        batch = spoken(PHONES, width=13)
        batch.key = (1, "y", epoch, 0)
        noisy.append(system.prepare(batch, ["spoken"]).drawn[view].tensors["tokens"])
        changed = noisy[-1] != batch.inputs["b:text"]
        padded = torch.arange(13) >= batch.lengths["b:text"][:, None]
        assert (changed.sum(1) <= torch.tensor([4, 2, 1])).all() and not (changed & padded).any()
        assert (noisy[-1] == build.VOCAB["b"]).any()
    assert torch.equal(noisy[0], noisy[1]) and not torch.equal(noisy[0], noisy[2])
    calls = entering(system)
    loss = build.learn(system, batch, "spoken")[1]
    assert torch.equal(calls[0][0][:, :13], system.phones(noisy[2]))
    loss.sum.backward()
    assert system.phones.mask.grad.abs().sum() > 0
    assert set(dict(system.theta(["encoder"])["phones"].named_parameters())) == {"mask", "table.weight"}
