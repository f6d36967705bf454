"""The configs of MMSpeech: what its objectives share, published sizes, rows and switches; and a walk through all stages on mini."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from m2asr.config import check_config, load_config
from m2asr.objectives.build import build_system, resolve
from m2asr.report.ablation import Ablation, make_jobs
from m2asr.train_config import TrainConfig
from tests.recipes.recipe import ROOT, Copied
from tests.recipes.test_configs import name_of, sizes
from tests.recipes.test_just import switches, system_of, words

CONFIGS = sorted(ROOT.glob("egs/*/conf/train_mmspeech*.yaml"))
MINI, AISHELL, LARGE = (ROOT / f"egs/{name}.yaml" for name in (
    "mini/conf/train_mmspeech", "aishell/conf/train_mmspeech", "aishell/conf/train_mmspeech_large"))  # fmt: skip
ABLATION = ROOT / "egs/debspeech/conf/ablation_mmspeech.yaml"
FIVE = {"s2t", "pp", "p2t", "s2c", "msp"}
SWITCHES = switches("MMSpeech")


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_passes_that_objectives_share(path: Path) -> None:
    """Pairs have one pass, and speech alone one with a mask, and one for the teacher; search reads s2t alone."""
    config, system = system_of(path)
    views = {name: system.objectives[name].views for name in FIVE}
    assert set(config.objectives) == FIVE and views["s2t"] == views["pp"] and views["s2c"] == views["msp"][:1]
    assert len(views["msp"]) == 2 and views["msp"][1].mask is None and not views["msp"][1].grad
    assert views["s2t"][0].mask.probability < views["s2c"][0].mask.probability
    (read,) = views["p2t"]
    assert read.start == len(system.encoder.blocks) // 2 or (path == LARGE and read.start == 6)
    assert [name for name in FIVE if config.objectives[name].decode and config.objectives[name].type != "self_distillation"] == ["s2t"]
    assert (
        system.objectives["pp"].runs == ("phone_head", "phones") and config.model.modules()["phone_head"].options()["embedding"] == "phones"
    )
    trained = [{name for level in config.levels_of(phase) for name in level.objectives} for phase in config.phases]
    assert trained == [{"p2t"}, FIVE, {"s2t", "pp", "p2t"}]


@pytest.mark.parametrize(("path", "published"), [(AISHELL, 210e6), (LARGE, 609e6)], ids=["base", "large"])
def test_published_sizes(path: Path, published: float) -> None:
    """With the published numbers of characters and codes the parameters are about as many."""
    config = resolve(load_config(TrainConfig, path))
    with torch.device("meta"):
        system = build_system(config, {"chars": 21128, "ph": 124, "codes": 30000}, 80)
    assert sum(parameter.numel() for parameter in system.parameters()) == pytest.approx(published, rel=0.15)
    encoder, writer = config.model.encoder.options(), config.model.modules()["writer"].options()
    expected = (12, 768, 12, 6) if path == AISHELL else (24, 1024, 16, 12)
    assert (encoder["blocks"], encoder["dim"], encoder["heads"], writer["blocks"]) == expected
    assert encoder["ff_mult"] == writer["ff_mult"] == 4 and config.objectives["p2t"].options()["view"]["start"] == 6
    noise = config.objectives["p2t"].options()["view"]["noise"]
    assert (noise["share"], noise["random"]) == (0.3, 0.1)


@pytest.mark.parametrize("changes", SWITCHES)
def test_every_switch_of_the_page_is_a_valid_config(changes: str) -> None:
    assert len(SWITCHES) >= 10
    plain, changed = (resolve(load_config(TrainConfig, MINI, overrides)) for overrides in ([], words(changes)))
    assert plain != changed
    system_of(MINI, *words(changes))


def test_rows_leave_out_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ABLATION.parents[1])
    tasks = {}
    for job in make_jobs(load_config(Ablation, ABLATION, ["seeds=[1]"])):
        config = resolve(check_config(TrainConfig, job.config, job.tag))
        with torch.device("meta"):
            build_system(config, sizes(config), 80)
        assert config.train.hours == 20 and config.streams["pairs"].sets == ["few_zh"] and config.streams["pairs"].dev == ["dev_zh"]
        assert not any("test" in name or name == "dev_zh" for stream in config.streams.values() for name in stream.sets)
        tasks[job.row] = {name for phase in config.phase_list() for level in config.levels_of(phase) for name in level.objectives}
    left_out = {row: FIVE - names for row, names in tasks.items()}
    assert left_out["attention"] == left_out["ctc"] == FIVE - {"s2t"} and left_out["p2t_s2t"] == {"pp", "s2c", "msp"}
    assert left_out["no_s2c"] == {"s2c"} and left_out["no_msp"] == {"msp"} and left_out["no_p2t"] == {"p2t"}
    assert left_out["no_pp"] == {"pp", "msp"}
    assert all(not left_out[row] for row in ("all", "no_finetuning", "mgda", "modo", "lower", "ema"))


@pytest.mark.recipes
def test_all_stages_on_mini(tmp_path: Path) -> None:
    """Phones and codes are written once, and search without and with a language model reads s2t alone."""
    recipe = Copied(tmp_path, "mini")
    (recipe.folder / "corpus").symlink_to(ROOT / "egs/mini/corpus")
    conf = recipe.folder / "conf"
    cpc = yaml.safe_load((conf / "pretrain_cpc.yaml").read_text())
    cpc["model"]["encoder"] |= {"blocks": 1, "dim": 16, "heads": 2}
    cpc["train"] |= {"epochs": 1, "precision": "float32"}
    (conf / "small_cpc.yaml").write_text(yaml.safe_dump(cpc))
    lm = {"name": "lm", "method": "attention", "beam": 2, "lm": {"order": 2, "weight": [0.5]}, "bonus": [0.5], "batch_seconds": 120.0}
    (conf / "small_lm.yaml").write_text(yaml.safe_dump(lm))
    small = (
        "model.encoder.blocks=2 model.encoder.dim=16 model.encoder.heads=2 model.writer.blocks=1 model.writer.dim=16 model.writer.heads=2 "
        "objectives.p2t.view.start=1 tokens.codes.size=60 batching.seconds=400 train.hours=1 train.precision=float32"
    )
    options = ["--train_config", "conf/train_mmspeech.yaml", "--codes_config", "conf/small_cpc.yaml", "--codes_clusters", "20", "--nj", "1"]
    options += ["--decode_config", "conf/decode.yaml conf/small_lm.yaml", "--set", small]
    result = recipe.run(*options, "--dry_run")
    assert result.returncode == 0 and "m2asr.bin.texts" in result.stdout and not (recipe.folder / "data").exists()
    result = recipe.run(*options, timeout=1800)
    assert result.returncode == 0, result.stdout + result.stderr
    for lang in ("en", "it", "ru"):
        assert (recipe.folder / f"data/train_{lang}/text.codes").exists() and (recipe.folder / f"data/dev_{lang}/text.phones").exists()
    assert (recipe.folder / "exp/small_cpc/model.pt").exists()
    rows = json.loads((recipe.folder / "exp/train_mmspeech/results.json").read_text())["rows"]
    assert {(row["search"], row["task"], row["metric"]) for row in rows} == {
        (s, "asr", m) for s in ("greedy", "lm") for m in ("wer", "cer")
    }
    before = recipe.written()
    result = recipe.run(*options)
    assert result.returncode == 0 and result.stdout.count("skipped") == 9 and recipe.written() == before, result.stdout
    result = recipe.run("--train_config", "conf/train_mmspeech.yaml", "--tag", "none", "--stage", "texts", "--stop_stage", "texts")
    assert result.returncode == 1 and "give run.sh the config of this run, such as --codes_config conf/pretrain_cpc.yaml" in result.stderr
