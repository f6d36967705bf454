"""The configs of 3M: published sizes and weights, the start from two other runs, the numbers of its pages, and the switches."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml

from m2asr.config import load_config
from m2asr.models.experts import ExpertLinear
from m2asr.objectives.build import build_system, resolve
from m2asr.objectives.system import System
from m2asr.report.ablation import Ablation, make_jobs
from m2asr.train import checkpoint
from m2asr.train.initialize import initialize
from m2asr.train_config import Init, TrainConfig
from tests.objectives import build
from tests.recipes.recipe import ROOT
from tests.recipes.test_configs import name_of, sizes, trainer_of
from tests.recipes.test_just import switches, system_of, words

CONFIGS = sorted(ROOT.glob("egs/*/conf/train_3m.yaml"))
MINI, AISHELL, WENETSPEECH = (ROOT / f"egs/{name}/conf/train_3m.yaml" for name in ("mini", "aishell", "wenetspeech"))
ABLATION = ROOT / "egs/debspeech/conf/ablation_3m.yaml"
DENSE = "model.encoder.experts=null model.sounds=null objectives.sounds_ctc=null objectives.balance=null"
START = "model.encoder.experts.scale=straight phases=[{name: experts, init: {from: exp/train_3m_base/model.pt}}]"
TINY = ["model.encoder.dim=16", "model.encoder.heads=2", "model.encoder.subsampling=windows", "model.texts.dim=16", "model.texts.heads=2"]
TINY_NETWORK = ["model.sounds.dim=16", "model.sounds.heads=2", "model.sounds.subsampling=windows"]
SWITCHES = switches("3M")


def parameters(system: System, modules: tuple[str, ...] = ()) -> tuple[int, int]:
    """The parameters of a system, or of those of these modules that it has: all, and those that a state goes through."""
    parts = [getattr(system, name) for name in modules if name in system.module_names] if modules else [system]
    experts = system.encoder.experts
    layers = [layer for part in parts for layer in part.modules() if isinstance(layer, ExpertLinear)]
    stacked = sum(param.numel() for layer in layers for param in layer.parameters())
    count = sum(param.numel() for part in parts for param in part.parameters())
    return count, count - (stacked * (experts.count - experts.top) // experts.count if experts else 0)


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_one_pass_serves_all_losses(path: Path) -> None:
    """The losses on texts are merged; those of the embedding network and of the routers are regular, and no search reads them."""
    config, system = system_of(path)
    assert len({(objective.stream, *system.objectives[name].views) for name, objective in config.objectives.items()}) == 1
    merged = {name for name, objective in config.objectives.items() if objective.role == "merged"}
    assert {"ctc", "aed"} <= merged <= {"ctc", "aed", "middle_ctc"} and set(config.objectives) - merged == {"sounds_ctc", "balance"}
    weights = config.weighting.options()["weights"]
    assert (weights["ctc"], weights["aed"]) == (0.3, 0.7) and weights.keys() == merged
    assert [name for name, objective in config.objectives.items() if objective.decode and name in merged] == ["ctc", "aed"]
    assert config.objectives["sounds_ctc"].weight == 0.01 and config.objectives["sounds_ctc"].options()["tap"] == system.embedding_name
    assert system.objectives["balance"].weights == {"sparsity": 0.15, "importance": 0.15, "switch": 0.0, "z": 0.0}
    assert len(system.objectives["balance"].taps) == len(system.encoder.blocks)


def test_published_sizes() -> None:
    encoder = {"blocks": 12, "dim": 512, "heads": 8, "kernel": 15, "ff_mult": 4, "dropout": 0.1, "subsampling": "conv2d"}
    decoder = {"blocks": 6, "dim": 512, "heads": 8, "ff_mult": 4}
    folder, config = WENETSPEECH.parent, system_of(WENETSPEECH)[0]
    base, embedding = (system_of(folder / f"train_3m_{name}.yaml")[0] for name in ("base", "embedding"))
    network = {**encoder, "blocks": 6}
    for options, expected in (
        (config.model.encoder.options(), encoder),
        (base.model.encoder.options(), encoder),
        (embedding.model.encoder.options(), network),
        (config.model.modules()["sounds"].options(), network),
        (config.model.modules()["texts"].options(), decoder),
        (base.model.modules()["texts"].options(), decoder),
        (embedding.model.modules()["texts"].options(), {**decoder, "blocks": 4}),
    ):
        assert {key: options[key] for key in expected} == expected
    experts = config.model.encoder.options()["experts"]
    assert (experts["count"], experts["top"], experts["dropout"], experts["capacity"], experts["blocks"]) == (32, 1, 0.2, None, "all")
    for other in (base, embedding):
        assert (other.streams, other.tokens, other.optim, other.batching) == (config.streams, config.tokens, config.optim, config.batching)
        assert other.objectives.items() <= config.objectives.items() and other.weighting == config.weighting


def made(path: Path, *overrides: str, seed: int) -> tuple[TrainConfig, System]:
    """The config and its system, with 12 tokens and 8 features."""
    config = resolve(load_config(TrainConfig, path, list(overrides)))
    torch.manual_seed(seed)
    return config, build_system(config, dict.fromkeys(config.tokens, 12), feat_dim=8).eval()


def saved(system: System, path: Path) -> str:
    checkpoint.write(path, {"model": system.state_dict()})
    return str(path)


def same_outputs(dense: System, experts: System, tokens: str) -> None:
    """Each loss on texts of the dense system is that of the one with experts."""
    batch = build.batch([120, 90], {f"{tokens}:text": [[2, 3], [4]]}, dtype=torch.float32, langs=["en", "en"])
    for name in dense.objectives:
        losses = []
        for system in (dense, experts):
            losses.append(float(build.learn(system, batch, name)[1].sum.detach()))
            batch.drawn.clear()
        assert losses[1] == pytest.approx(losses[0], rel=1e-5), name


@pytest.mark.parametrize("path", [path for path in CONFIGS if path != WENETSPEECH], ids=name_of)
def test_experts_start_as_their_dense_baseline(path: Path, tmp_path: Path) -> None:
    tiny = [*TINY, *TINY_NETWORK]
    base = (AISHELL.with_name("train_3m_base.yaml"), *TINY) if path == AISHELL else (path, *TINY, *words(DENSE))
    dense = made(*base, seed=1)[1]
    config, experts = made(path, *tiny, *words(START), seed=2)
    (source,) = config.phases[0].init
    assert initialize(experts, [source.model_copy(update={"path": saved(dense, tmp_path / "base.pt")})])
    same_outputs(dense, experts, *config.tokens)
    initialize(published := made(path, *tiny, seed=2)[1], [Init(path=str(tmp_path / "base.pt"))])
    with pytest.raises(AssertionError):  # scaled by probabilities
        same_outputs(dense, published, *config.tokens)


def test_three_runs(tmp_path: Path) -> None:
    """The embedding network and its head come from one run, all else but the routers from the other."""
    folder = WENETSPEECH.parent
    runs = {name: made(folder / f"{name}.yaml", *TINY, seed=seed)[1] for seed, name in enumerate(("train_3m_embedding", "train_3m_base"))}
    config, experts = made(WENETSPEECH, *TINY, *TINY_NETWORK, seed=2)
    sources = config.phases[0].init
    assert [source.path for source in sources] == [f"exp/{name}/model.pt" for name in runs]
    models = {name: saved(system, tmp_path / f"{name}.pt") for name, system in runs.items()}
    sources = [source.model_copy(update={"path": models[Path(source.path).parent.name]}) for source in sources]
    assert initialize(experts, sources)[-1].endswith("; new: encoder")  # the routers
    same_outputs(runs["train_3m_base"], experts, "zh")
    weights, given = experts.state_dict(), runs["train_3m_embedding"].state_dict()
    for name in given:
        if name.startswith(("encoder.", "objectives.ctc.")):
            there = name.replace("encoder.", "sounds.", 1).replace("objectives.ctc.", "objectives.sounds_ctc.")
            assert torch.equal(weights[there], given[name]), name


def quoted() -> list[tuple[Path, str, list[str]]]:
    """Config, changes and numbers of parameters in millions of the tables in the pages of the recipes."""
    rows = []
    for folder in ("wenetspeech", "aishell"):
        page = ROOT / f"egs/{folder}/README.md"
        found = re.findall(r"`(train_3m\w*)`(?: with `([^`]*)`)? \| ([\d,]+) \| ([\d,]+) \|$", page.read_text(encoding="utf-8"), re.M)
        rows += [(page.parent / f"conf/{name}.yaml", changes, numbers) for name, changes, *numbers in found]
    return rows


def test_numbers_of_parameters_on_the_pages() -> None:
    rows = quoted()
    assert len(rows) >= 12
    for path, changes, numbers in rows:
        system = system_of(path, *(words(changes) if changes else []))[1]
        assert [f"{round(count / 1e6):,}" for count in parameters(system)] == numbers, (path, changes)


@pytest.mark.parametrize("changes", SWITCHES)
def test_every_switch_of_the_page_is_a_valid_config(changes: str) -> None:
    assert len(SWITCHES) >= 15
    plain, changed = (resolve(load_config(TrainConfig, MINI, overrides)) for overrides in ([], words(changes)))
    assert plain != changed
    system_of(MINI, *words(changes))


def test_the_wide_dense_row_is_as_large_as_that_with_experts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ABLATION.parents[1])
    counts = {}
    for job in make_jobs(load_config(Ablation, ABLATION, ["seeds=[1]"])):
        if job.row in ("all", "dense", "dense_wide"):
            config = resolve(TrainConfig.model_validate(job.config))
            with torch.device("meta"):
                counts[job.row] = parameters(build_system(config, sizes(config), 80), ("encoder", "sounds"))
    shown = {row: [f"{count / 1e6:.1f}" for count in pair] for row, pair in counts.items()}
    page = " ".join((ABLATION.parents[1] / "README.md").read_text(encoding="utf-8").split())
    assert f"embedding network have {shown['all'][0]} million parameters, of which {shown['all'][1]} are used" in page
    assert f"`dense_wide` has {shown['dense_wide'][0]}, that of the row `dense` {shown['dense'][0]}." in page
    assert 1 <= counts["dense_wide"][0] / counts["all"][0] < 1.05


def test_the_embedding_network_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The row trains nothing else in its first phase, and all in its second."""
    monkeypatch.chdir(ABLATION.parents[1])
    (job,) = (job for job in make_jobs(load_config(Ablation, ABLATION, ["seeds=[1]"])) if job.row == "embedding_first")
    (tmp_path / "row.yaml").write_text(yaml.safe_dump(job.config), encoding="utf-8")
    trainer = trainer_of(tmp_path / "row.yaml", tmp_path, [*TINY, *TINY_NETWORK, "train.precision=float32"])
    expected = [{"sounds", "sounds_ctc"}, {"encoder", "sounds", "texts", "ctc", "middle_ctc", "sounds_ctc"}]
    for phase, names in zip(trainer.phases, expected, strict=True):
        phase.start()
        before = {name: value.clone() for name, value in trainer.system.named_parameters()}
        assert not phase.gradients(phase.next_step().draws(), 0.0, 0).problem
        phase.optimizer.step(0.5 * phase.total_steps)
        moved = {name for name, value in trainer.system.named_parameters() if not torch.equal(value, before[name])}
        assert {name.removeprefix("objectives.").split(".")[0] for name in moved} == names
        phase.stop()
