"""Transducers in stage 5: every search decodes, scores name it, numbers are tuned on the dev sets, and `transcribe` takes them over."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from m2asr.config import DecodeConfig
from m2asr.data.directory import read_table
from m2asr.decode.encode import encode_batch
from m2asr.decode.run import decode
from m2asr.decode.search_setup import saved_search
from m2asr.decode.text_models import make_models
from m2asr.decode.transcriber import Transcriber
from m2asr.objectives.build import build_system, resolve
from m2asr.text.tokenizer import Tokenizer
from m2asr.train import checkpoint
from m2asr.train_config import TrainConfig
from tests.conftest import command
from tests.decode.conftest import CONFIG, Run

SETS = ["test_en", "test_it"]
TRANSDUCER = {"type": "transducer", "max_symbols": 1}
MODULES = {
    "en": {"predictor": {"type": "lstm_predictor", "layers": 1, "dim": 16}, "joiner": {"type": "joiner", "dim": 16}},
    "it": {"predictor": {"type": "stateless_predictor", "dim": 16}, "joiner": {"type": "joiner", "dim": 16}},
}
LM = {"method": "transducer", "beam": 2, "lm": {"order": 3, "weight": [0.2, 0.8]}, "bonus": [0.0, 1.0]}


@pytest.fixture(scope="module")
def run(untrained: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The untrained run with transducers instead of the heads of speech recognition."""
    root = tmp_path_factory.mktemp("transducers")
    run = Run(*(Path(shutil.copytree(folder, root / folder.name)) for folder in untrained))
    model = {**CONFIG["model"]}
    objectives = {"st_it_en": CONFIG["objectives"]["st_it_en"]}
    for lang, modules in MODULES.items():
        model |= {f"{key}_{lang}": module for key, module in modules.items()}
        names = {key: f"{key}_{lang}" for key in modules}
        objectives[f"asr_{lang}"] = {**TRANSDUCER, "stream": lang, "tokens": lang, **names}
    config = resolve(TrainConfig.model_validate({**CONFIG, "model": model, "objectives": objectives}))
    sizes = {name: Tokenizer.load(run.exp / "tokens" / name).size for name in config.tokens}
    torch.manual_seed(1)
    system = build_system(config, sizes, feat_dim=80)
    checkpoint.write(run.exp / "model.pt", {"config": config.model_dump(), "model": system.state_dict()})
    return run


def search(name: str, **options: object) -> DecodeConfig:
    return DecodeConfig.model_validate({"name": name, **options})


def info(run: Run, name: str, target: str) -> dict:
    return json.loads((run.exp / f"decode_{name}/{target}/info.json").read_text())


def test_searches_of_one_pass_are_scored_by_their_names(run):
    searches = [search("greedy"), search("beam", method="transducer", beam=2), search("default", method="prefix_beam", beam=2)]
    hot = search("hot", method="transducer", beam=2, hotwords={"phrases": ["please", "per favore"], "bonus": 3.0}, bonus=1.0)
    decode(run.load(), [*searches, hot], SETS)
    texts = {}
    for name in ("greedy", "beam", "default", "hot"):
        for target in ("test_en/asr_en", "test_it/asr_it"):
            texts[name, target] = read_table(run.exp / f"decode_{name}/{target}/text")
            assert texts[name, target].keys() == read_table(run.data / target.split("/")[0] / "text").keys()
            assert any(texts[name, target].values()) and 0 <= info(run, name, target)["unrepresentable"] <= 1
    assert texts["default", "test_en/asr_en"] == texts["beam", "test_en/asr_en"]  # it falls back to the only head there is
    assert texts["hot", "test_en/asr_en"] != texts["beam", "test_en/asr_en"]
    assert info(run, "beam", "test_en/asr_en")["search"]["method"] == "transducer"
    process = command("score", "--exp", run.exp, "--decode", "greedy", "beam", "hot", "--data", run.data)
    assert process.returncode == 0, process.stderr
    rows = json.loads((run.exp / "results.json").read_text())["rows"]
    assert {(row["search"], row.get("objective")) for row in rows} >= {(name, "asr_en") for name in ("greedy", "beam", "hot")}


def test_references_that_a_transducer_cannot_write_are_counted(run):
    """One token per state: texts of more tokens than states."""
    decode(run.load(), [search("counted")], ["test_en"])
    trained, states = run.load(), {}
    with torch.inference_mode():
        for batch in trained.batches("test_en", [], 60.0):
            states |= dict(zip(batch.utt_ids, encode_batch(trained.system, batch).lengths.tolist(), strict=True))
    references = read_table(run.data / "test_en/text")
    sizes = {utt: len(trained.tokenizers["en"].encode(text)) for utt, text in references.items()}
    expected = sum(sizes[utt] > states[utt] for utt in references) / len(references)
    assert info(run, "counted", "test_en/asr_en")["unrepresentable"] == pytest.approx(expected)


def test_numbers_are_tuned_and_transcribe_takes_them_over(run):
    tuned = search("tuned", **LM)
    list(make_models(tuned, run.load().config, run.data, run.exp))
    decode(run.load(), [tuned], ["test_en"])
    lines = (run.exp / "decode_tuned/tuning.asr_en.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[0].split("\t")[:2] == ["lm.weight", "bonus"] and len(lines) == 5
    saved, settings = saved_search(run.exp, "tuned")
    assert saved == tuned and settings["asr_en"].bonus in (0.0, 1.0)
    utt, wav = next(iter(read_table(run.data / "test_en/wav.scp").items()))
    pytest.importorskip("silero_vad")
    transcriber = Transcriber(run.exp, cut="pauses")  # the last search with a language model
    assert transcriber.search == tuned and transcriber(wav, lang="en").seconds > 0
    (reader,) = (reader for reader in transcriber.setups if reader.transducer)
    assert transcriber.setups[reader].settings == settings["asr_en"]
