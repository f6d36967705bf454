"""Several searches in one pass: each gives what it gives alone; mistakes are told before anything is written."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import pytest
import torch

from m2asr.config import DecodeConfig
from m2asr.data.directory import read_table
from m2asr.decode.run import decode
from m2asr.decode.search_setup import best_saved, saved_search
from m2asr.decode.text_models import make_models
from m2asr.errors import UserError
from m2asr.models.experts import Experts
from tests.conftest import command

SETS = ["test_en", "test_it"]
TIMES = ("seconds",)


def search(name, **options) -> DecodeConfig:
    return DecodeConfig.model_validate({"name": name, "beam": 4, "max_ratio": 0.3, **options})


GREEDY = search("greedy")
LM = search("lm", method="prefix_beam", lm={"order": 3, "weight": [0.2, 0.8]}, bonus=[0.0, 1.0])
JOINT = search("joint", method="attention", hotwords={"phrases": ["per favore", "please"], "bonus": 2.0})


def written(run, name) -> dict[str, object]:
    """Everything in the folder of a search, but for times."""
    folder, contents = run.exp / f"decode_{name}", {}
    for path in sorted(folder.rglob("*")):
        if path.name == "info.json":
            info = json.loads(path.read_text())
            contents[str(path.relative_to(folder))] = {key: value for key, value in info.items() if key not in TIMES}
        elif path.is_file():
            contents[str(path.relative_to(folder))] = path.read_bytes()
    return contents


def test_several_searches_in_one_pass_give_what_each_gives_alone(run):
    list(make_models(LM, run.load().config, run.data, run.exp))
    together = [GREEDY, LM, JOINT]
    decode(run.load(), together, SETS)
    passed = {config.name: written(run, config.name) for config in together}
    for config in together:
        shutil.rmtree(run.exp / f"decode_{config.name}")
        decode(run.load(), [config], SETS)
        assert written(run, config.name) == passed[config.name]
    assert passed["lm"].keys() >= {"tuning.asr_en.tsv", "test_en/asr_en/text", "test_it/st_it_en/info.json"}
    assert len({passed[name]["test_en/asr_en/text"] for name in ("greedy", "lm")}) == 2
    info = passed["lm"]["test_en/asr_en/info.json"]["search"]
    assert info["name"] == "lm" and isinstance(info["lm"]["weight"], float) and isinstance(info["bonus"], float)


def test_processes_write_what_one_process_writes(run):
    list(make_models(LM, run.load().config, run.data, run.exp))
    quick = [config.model_copy(update={"batch_seconds": 6.0}) for config in (GREEDY, LM)]  # batches of two utterances and less
    results, threads = [], torch.get_num_threads()
    torch.set_num_threads(2)  # of which a fork has only one
    try:
        for processes in (1, 3):
            decode(replace(run.load(), processes=processes), quick, SETS)
            results.append({config.name: written(run, config.name) for config in quick})
    finally:
        torch.set_num_threads(threads)
    assert results[0] == results[1] and results[0]["lm"].keys() >= {"tuning.asr_en.tsv", "test_it/st_it_en/text"}


def test_every_utterance_has_a_hypothesis(run):
    decode(run.load(), [search("beam", method="prefix_beam", beam=200, token_prune=500, bonus=2.0)], SETS)
    for name, target in (("test_en", "asr_en"), ("test_it", "asr_it"), ("test_it", "st_it_en")):
        texts = read_table(run.exp / f"decode_beam/{name}/{target}/text")
        assert texts.keys() == read_table(run.data / name / "text").keys() and any(texts.values())


@pytest.mark.parametrize("method", ["prefix_beam", "attention"])
def test_weights_of_zero_change_no_hypothesis(run, method):
    zero = search("zero", method=method, lm={"order": 2, "weight": 0.0}, hotwords={"phrases": ["please"], "bonus": 0.0}, bonus=0.0)
    list(make_models(zero, run.load().config, run.data, run.exp))
    decode(run.load(), [search("bare", method=method), zero], SETS)
    for path in (run.exp / "decode_bare").glob("*/*/text"):
        assert path.read_bytes() == (run.exp / "decode_zero" / path.relative_to(run.exp / "decode_bare")).read_bytes()


def test_two_searches_of_one_name_are_refused(run):
    with pytest.raises(UserError, match="two searches have the name lm; give each config a name of its own"):
        decode(run.load(), [LM, GREEDY, LM], SETS)
    assert not list(run.exp.glob("decode_*"))


def test_a_missing_model_is_told_before_anything_is_written(run):
    with pytest.raises(UserError, match=r"no language model for the search lm; run stage 2 \(lm\) first"):
        decode(run.load(), [GREEDY, LM], SETS)
    assert not list(run.exp.glob("decode_*"))


def test_a_set_without_an_expert_is_told_before_the_first_is_decoded(run):
    trained = run.load()
    trained.system.encoder.experts = Experts(count=1, router="language", languages=["en"])
    with pytest.raises(UserError, match="test_it: no expert of the encoder is for language it, only for en; leave this set out"):
        decode(trained, [GREEDY], SETS)
    assert not list(run.exp.glob("decode_*"))


def test_progress_is_shown_where_someone_sees_it(run, monkeypatch, capsys):
    for value, shown in (("0", False), ("1", True)):
        monkeypatch.setenv("M2ASR_PROGRESS", value)
        decode(run.load(), [GREEDY], ["test_en"])
        assert ("decode test_en: 100%" in capsys.readouterr().err) is shown


def test_what_was_found_for_other_languages_stays(run):
    """Until the search or the model is another."""
    config = search("lm", method="prefix_beam", bonus=[0.0, 1.0])
    decode(run.load(), [config], ["test_it"])
    _, first = saved_search(run.exp, "lm")
    decode(run.load(), [config], ["test_en"])
    saved, settings = saved_search(run.exp, "lm")
    assert saved == config and settings == {**first, "asr_en": settings["asr_en"]} and len(first) == 2
    decode(run.load(), [search("lm", method="prefix_beam", bonus=[0.0, 2.0])], ["test_en"])
    assert saved_search(run.exp, "lm")[1].keys() == {"asr_en"}
    decode(run.load(), [config], ["test_it"])
    os.utime(run.exp / "model.pt")
    decode(run.load(), [config], ["test_en"])
    assert saved_search(run.exp, "lm")[1].keys() == {"asr_en"}


def test_damaged_settings_are_told_and_written_anew(run, capsys):
    config = search("lm", method="prefix_beam", bonus=[0.0, 1.0])
    decode(run.load(), [config], ["test_en"])
    path = run.exp / "decode_lm" / "search.yaml"
    for text in "{}", "readers: {}", "search: 3\nreaders: {}", "[", "":
        path.write_text(text)
        with pytest.raises(UserError, match=r"search\.yaml"):
            best_saved(run.exp)
        with pytest.raises(UserError, match=r"search\.yaml"):
            saved_search(run.exp, "lm")
        capsys.readouterr()
        decode(run.load(), [config], ["test_en"])
        assert "search.yaml: damaged; it is written anew" in capsys.readouterr().err
        assert saved_search(run.exp, "lm")[0] == config


def test_the_command(run, tmp_path):
    (tmp_path / "greedy.yaml").write_text("{}")
    (tmp_path / "bonus.yaml").write_text("{name: bonus, method: prefix_beam, bonus: [0.0, 1.0]}")
    configs = tmp_path / "greedy.yaml", tmp_path / "bonus.yaml"
    process = command("decode", "test_en", "--config", *configs, *run.options())
    assert process.returncode == 0, process.stderr
    assert "tuning.asr_en.tsv: best of 2 on 10 dev utterances: bonus " in process.stdout
    assert process.stdout.count("5 utterances") == 2 and not process.stderr
    process = command("score", "--exp", run.exp, "--decode", "greedy", "bonus", "--data", run.data)
    assert process.returncode == 0, process.stderr
    rows = json.loads((run.exp / "results.json").read_text())["rows"]
    assert {row["search"] for row in rows} == {"greedy", "bonus"}

    for change, message in (
        ("lm.weight=often", "lm.weight: Input should be a valid number, got 'often'"),
        ("bonus=.nan", "bonus: Input should be a finite number, got nan"),
        ("name=one", "two searches have the name one"),
    ):
        options = ("--set", "method=prefix_beam", change) if change != "name=one" else ("--set", change)
        process = command("decode", "test_en", "--config", *configs, *options, *run.options())
        assert process.returncode == 1 and message in process.stderr and process.stderr.count("\n") == 1, process.stderr
