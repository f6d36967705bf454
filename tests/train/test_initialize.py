"""Starting from the weights of other runs: several sources, names that change, and one weight for many places."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from m2asr.bin import train
from m2asr.bin.train import source_of
from m2asr.errors import UserError
from m2asr.moo.collectives import Collectives
from m2asr.text.tokenizer import train_tokenizer
from m2asr.train import checkpoint
from m2asr.train.initialize import initialize, other_tokens
from m2asr.train_config import Init
from tests.objectives import build

ENCODER = {"type": "conformer", "blocks": 2, "dim": 16, "heads": 2, "kernel": 5, "subsampling": "windows", "dropout": 0.0}
WRITER = {"type": "transformer", "blocks": 1, "dim": 16, "heads": 2}
OBJECTIVES = {
    "asr_x": {"type": "ctc", "stream": "x", "tokens": "a"},
    "st_x": {"type": "attention", "stream": "x", "tokens": "b", "decoder": "writer"},
}


def system(seed: int, **model: object):
    torch.manual_seed(seed)
    sections = {"encoder": ENCODER, "writer": WRITER, "cmvn": "none", "specaugment": None, **model}
    config = build.config(model=sections, objectives=OBJECTIVES, streams={"x": {"sets": ["x"]}})
    return build.build_system(config, build.VOCAB, feat_dim=8)


def saved(made: nn.Module, path: Path, **names: str) -> str:
    """A model.pt of a system, with other beginnings of names."""
    weights = made.state_dict()
    for old, new in names.items():
        weights = {new + key[len(old) :] if key.startswith(old) else key: value for key, value in weights.items()}
    checkpoint.write(path, {"model": weights})
    return str(path)


def test_heads_of_other_tokens_are_told(tmp_path):
    """Where as many tokens have other ids; with another number of them no head would be copied."""
    texts = {"ours": {"a": "abc", "b": "abc", "c": "abc"}, "theirs": {"a": "abd", "b": "abc", "c": "abcd"}}
    for run, tokenizers in texts.items():
        for name, text in tokenizers.items():
            train_tokenizer("char", None, [text], tmp_path / run / "tokens" / name)
    source = Init(path=str(tmp_path / "theirs/model.pt"))
    (warning,) = other_tokens([source, Init(path=str(tmp_path / "elsewhere/model.pt"))], tmp_path / "ours/tokens")
    assert warning.startswith(f"warning: {source.path}: its tokenizer a has as many tokens as that of this run, but others")


def test_weights_come_from_several_sources(tmp_path):
    """The encoder from one run, the decoder from a later one, whose encoder is left out."""
    first, second, ours = system(1), system(2), system(3)
    before = ours.state_dict()["objectives.asr_x.output.weight"].clone()
    sources = [
        Init(path=saved(first, tmp_path / "a.pt"), map={"objectives.": None, "writer.": None}),
        Init(path=saved(second, tmp_path / "b.pt"), map={"objectives.": None, "encoder.": None}),
    ]
    lines = initialize(ours, sources)
    for key, value in ours.state_dict().items():
        if key.startswith("encoder."):
            assert torch.equal(value, first.state_dict()[key]), key
        if key.startswith("writer."):
            assert torch.equal(value, second.state_dict()[key]), key
    assert torch.equal(ours.state_dict()["objectives.asr_x.output.weight"], before)
    assert len(lines) == 2 and lines[1].endswith("; new: asr_x")


def test_a_beginning_may_go_to_many_places(tmp_path):
    given, ours = system(1), system(2)
    path = saved(given, tmp_path / "a.pt")
    initialize(ours, [Init(path=path, map={"encoder.blocks.0.": ["encoder.blocks.0.", "encoder.blocks.1."], "encoder.blocks.1.": None})])
    for name, value in given.encoder.blocks[0].state_dict().items():
        assert torch.equal(ours.encoder.blocks[0].state_dict()[name], value)
        assert torch.equal(ours.encoder.blocks[1].state_dict()[name], value)


def test_a_dense_layer_fills_every_expert(tmp_path):
    """Experts are stacked: one dimension more, and the same weights in each."""
    given, ours = system(1), system(2)
    dense = given.encoder.blocks[0].feed_forward2.wide.weight
    ours.encoder.blocks[0].feed_forward2.wide.weight = nn.Parameter(torch.zeros(3, *dense.shape))
    initialize(ours, [Init(path=saved(given, tmp_path / "a.pt"))])
    filled = ours.encoder.blocks[0].feed_forward2.wide.weight
    assert all(torch.equal(expert, dense) for expert in filled)
    with torch.no_grad():  # and they are apart from then on
        filled[0] += 1
    assert torch.equal(filled[1], dense)


def expert_system(seed: int, **experts: object):
    network = {**ENCODER, "blocks": 1}
    objectives = {**OBJECTIVES, "sounds_ctc": {**OBJECTIVES["asr_x"], "tap": "sounds", "role": "regular", "decode": False}}
    encoder = {**ENCODER, "experts": {"count": 3, "embedding": "sounds", **experts}}
    torch.manual_seed(seed)
    model = {"encoder": encoder, "sounds": network, "writer": WRITER, "cmvn": "none", "specaugment": None}
    return build.build_system(build.config(model=model, objectives=objectives, streams={"x": {"sets": ["x"]}}), build.VOCAB, feat_dim=8)


def test_noise_needs_copies(tmp_path):
    with pytest.raises(UserError, match="no weight of it is copied to every expert, so `noise` has nothing to do"):
        initialize(system(2), [Init(path=saved(system(1), tmp_path / "a.pt"), noise=0.1)])


@pytest.mark.parametrize("languages", [["it", "en", "ru"], ["en", "it", "de"]])
def test_experts_of_other_languages_are_not_copied(tmp_path, languages):
    def chosen_by(languages: list[str]):
        return system(1, encoder={**ENCODER, "experts": {"count": 3, "router": "language", "languages": languages}})

    path = tmp_path / "a.pt"
    config = {"model": {"encoder": {"experts": {"languages": ["en", "it", "ru"]}}}}
    checkpoint.write(path, {"model": chosen_by(["en", "it", "ru"]).state_dict(), "config": config})
    initialize(chosen_by(["en", "it", "ru"]), [Init(path=str(path))])
    listed = r"\[{}\] here and \[en, it, ru\] there".format(", ".join(languages))
    with pytest.raises(UserError, match=listed + ".*name the same languages in the same order"):
        initialize(chosen_by(languages), [Init(path=str(path))])
    blocks = {f"encoder.blocks.{number}.feed_forward2.": None for number in range(ENCODER["blocks"])}
    for left_out in ({"encoder.": None}, blocks):  # all else may be copied
        initialize(chosen_by(languages), [Init(path=str(path), map=left_out)])


def test_routers_that_read_other_languages_are_not_copied(tmp_path):
    """But experts among which a router learns to choose are of no language."""

    def routed(languages: list[str]):
        return system(1, encoder={**ENCODER, "experts": {"count": 3, "router": "shared", "languages": languages}})

    path, config = tmp_path / "a.pt", {"model": {"encoder": {"experts": {"languages": ["en", "it"]}}}}
    checkpoint.write(path, {"model": routed(["en", "it"]).state_dict(), "config": config})
    with pytest.raises(UserError, match=r"\[it, en\] here and \[en, it\] there.*or map these weights to null"):
        initialize(routed(["it", "en"]), [Init(path=str(path))])
    initialize(routed(["it", "en"]), [Init(path=str(path), map={"encoder.shared_router.": None})])


@pytest.mark.parametrize("router", ["block", "shared"])
def test_a_dense_run_has_no_routers(tmp_path, router):
    path, ours = saved(system(1), tmp_path / "a.pt"), expert_system(2, router=router)
    before = {key: value.clone() for key, value in ours.state_dict().items() if key.startswith("encoder.") and "router" in key}
    initialize(ours, [Init(path=path)])
    assert before and all(torch.equal(ours.state_dict()[key], value) for key, value in before.items())


def test_three_runs_of_3m(tmp_path):
    """An embedding network with its head from one run, all else from a dense one: the first outputs are those of the dense model."""
    network, dense, ours = system(1, encoder={**ENCODER, "blocks": 1}), system(2), expert_system(3, scale="straight")
    sources = [
        Init(
            path=saved(network, tmp_path / "network.pt"),
            map={"encoder.": "sounds.", "objectives.asr_x.": "objectives.sounds_ctc.", "writer.": None},
        ),
        Init(path=saved(dense, tmp_path / "dense.pt")),
    ]
    lines = initialize(ours, sources)
    assert lines[-1].endswith("; new: encoder")  # its routers
    batch = build.batch([120, 90], {"a:text": [[2, 3], [4]], "b:text": [[1], [2, 3]]}, dtype=torch.float32)
    for name in OBJECTIVES:
        expected, found = (float(build.learn(made.eval(), batch, name)[1].sum.detach()) for made in (dense, ours))
        assert found == pytest.approx(expected, rel=1e-6), name
        batch.drawn.clear()
    expected = build.encode(network.eval(), batch).states["output"]
    batch.drawn.clear()
    torch.testing.assert_close(build.encode(ours, batch, taps=["sounds"]).states["sounds"], expected)


def test_a_router_that_all_blocks_share_is_new_too(tmp_path):
    ours = expert_system(2, router="shared")
    assert initialize(ours, [Init(path=saved(system(1), tmp_path / "a.pt"))])[-1].endswith("; new: encoder, sounds, sounds_ctc")


def test_a_dense_run_of_another_size_is_refused_whatever_the_map_says(tmp_path):
    network, dense = system(1, encoder={**ENCODER, "blocks": 1}), system(2, encoder={**ENCODER, "kernel": 7})
    sources = [
        Init(path=saved(network, tmp_path / "network.pt"), map={"encoder.": "sounds.", "objectives.": None, "writer.": None}),
        Init(path=saved(dense, tmp_path / "dense.pt")),
    ]
    with pytest.raises(UserError, match=r"dense.pt: encoder.blocks.0.convolution.* there; train both with the same model.encoder"):
        initialize(expert_system(3), sources)


def test_a_condition_may_be_new(tmp_path):
    encoder = {**ENCODER, "condition": {"blocks": [1], "head": "tokens"}}
    model = {"encoder": encoder, "tokens": {"type": "token_head"}, "cmvn": "none", "specaugment": None}
    ours = build.system(model=model, objectives={"asr_x": {**OBJECTIVES["asr_x"], "head": "tokens"}}, streams={"x": {"sets": ["x"]}})
    lines = initialize(ours, [Init(path=saved(system(1), tmp_path / "a.pt"))])
    assert lines[0].endswith("; new: encoder, tokens")


def test_copies_may_differ_by_noise(tmp_path):
    """Of the same seed the same noise; its size is a share of the weights' own; biases stay equal."""
    path, found = saved(system(1), tmp_path / "a.pt"), []
    for seed in (5, 5, 6):
        ours = expert_system(2)
        initialize(ours, [Init(path=path, noise=0.1)], seed)
        found.append(ours.encoder.blocks[1].feed_forward2)
    dense = system(1).encoder.blocks[1].feed_forward2
    first, same, other = (layer.wide.weight.detach() for layer in found)
    assert torch.equal(first, same) and not torch.equal(first, other) and not torch.equal(first[0], first[1])
    weight = dense.wide.weight.detach()
    assert float((first - weight).std() / weight.std()) == pytest.approx(0.1, rel=0.05)
    assert all(torch.equal(bias, dense.wide.bias) for bias in found[0].wide.bias)


def test_the_longest_beginning_counts(tmp_path):
    given, ours = system(1), system(2)
    before = {key: value.clone() for key, value in ours.state_dict().items()}
    initialize(ours, [Init(path=saved(given, tmp_path / "a.pt"), map={"encoder.": "encoder.", "encoder.blocks.1.": None})])
    for key, value in ours.state_dict().items():
        source = before if key.startswith("encoder.blocks.1.") else given.state_dict()
        assert torch.equal(value, source[key]), key


def test_models_of_older_revisions_name_their_decoders_otherwise(tmp_path):
    given, ours = system(1), system(2)
    path = saved(given, tmp_path / "a.pt", writer="decoders.writer")
    assert any(key.startswith("decoders.writer.") for key in torch.load(path, weights_only=True)["model"])
    initialize(ours, [Init(path=path)])
    for key, value in ours.state_dict().items():
        assert torch.equal(value, given.state_dict()[key]), key


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"router.": "encoder."}, "no weight begins with `router.`; there are .*encoder.blocks"),
        ({"encoder.": "encodr."}, "`encoder.` is mapped to encodr.* does not exist here; correct `map`"),
        ({"encoder.subsampling.window.": "encoder.subsampling.pair."}, "has the shape .* here and .* there"),
    ],
)
def test_maps_that_fit_nothing_are_one_line(names, message, tmp_path):
    given = saved(system(1), tmp_path / "a.pt")
    with pytest.raises(UserError, match=message) as caught:
        initialize(system(2), [Init(path=given, map=names)])
    assert "\n" not in str(caught.value)


def test_an_encoder_of_another_shape_is_refused(tmp_path):
    given = saved(system(1, encoder={**ENCODER, "dim": 24, "heads": 2}), tmp_path / "a.pt")
    with pytest.raises(UserError, match="same model.encoder"):
        initialize(system(2), [Init(path=given)])


def test_the_command_line_says_the_same():
    source = source_of("a/model.pt", "encoder.=router.", "objectives.=", "x.=y.,z.")
    assert source == Init(path="a/model.pt", map={"encoder.": ["router."], "objectives.": None, "x.": ["y.", "z."]})
    for wrong in ("encoder.", "=router.", "a=b=c"):
        with pytest.raises(UserError, match="write OLD=NEW"):
            source_of("a/model.pt", wrong)


def test_the_command_line_knows_seed_and_processes(monkeypatch, tmp_path):
    """Without them the experts of a run whose experts are spread would not be found."""
    found = []
    ours = SimpleNamespace(
        system=object(), options=SimpleNamespace(seed=7), describe=str, resume=lambda: False, run=lambda: None,
        audio_seconds=0.0, train_seconds=0.0, number=0, exp=tmp_path,
    )  # fmt: skip
    monkeypatch.setattr("m2asr.train.trainer.Trainer", lambda *_: ours)
    monkeypatch.setattr("m2asr.train.initialize.initialize", lambda system, sources, *rest: found.append(rest) or [])
    monkeypatch.setattr("m2asr.train.materials.gather", lambda *_: None)
    monkeypatch.setattr("m2asr.objectives.build.resolve", lambda config: config)
    monkeypatch.setattr(train, "load_config", lambda *_: None)
    ours.group = Collectives()
    args = SimpleNamespace(config="", set=[], data="", dump="", exp=tmp_path, ngpu=0, allow_pipes=False, init_from=[["a.pt"]])
    train.train(args, ours.group)
    assert found == [(7, ours.group)]
