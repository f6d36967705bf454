"""What a run is made of: features that are computed while training, beside stored ones for normalization and the dev sets."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import kaldiio
import numpy as np
import pytest
import torch

from m2asr.bin import fbank
from m2asr.config import check_config
from m2asr.data.ark import read_matrix
from m2asr.data.index import UtteranceIndex
from m2asr.errors import UserError
from m2asr.objectives.build import resolve
from m2asr.train.materials import check_router_languages, gather, normalization, with_languages
from m2asr.train_config import TrainConfig
from tests.conftest import ROOT
from tests.train.recipe import CONFIG, prepare


def test_recordings_are_read_while_training_at_several_speeds(mini_data: Path, mini_dump: Path, tmp_path: Path) -> None:
    prepare(tmp_path, mini_data)
    streams = {**CONFIG["streams"], "raw": {**CONFIG["streams"]["raw"], "speeds": [0.9]}}
    config = {**CONFIG, "features": {"source": "audio"}, "streams": streams}
    plain, audio = (gather(resolve(check_config(TrainConfig, one, "x")), mini_data, mini_dump, tmp_path) for one in (CONFIG, config))
    numbers, key = [0, 7], (1, "en", 0, 0)
    for stream, stretch in (("en", 1.0), ("raw", 1 / 0.9)):
        stored, read = plain.train[stream].load(numbers, key)[0], audio.train[stream].load(numbers, key)[0]
        assert stored.utt_ids == read.utt_ids
        assert np.allclose(read.lengths["feats"], stored.lengths["feats"] * stretch, atol=3)
        if stretch == 1:
            assert np.allclose(read.inputs["feats"], stored.inputs["feats"], atol=1e-3)
    dev = [one.dev["raw"].load(numbers, key)[0] for one in (plain, audio)]
    assert np.array_equal(dev[0].inputs["feats"], dev[1].inputs["feats"])


def test_stage_fbank_stores_the_speeds_that_a_config_names(mini_data: Path, mini_dump: Path, tmp_path: Path) -> None:
    """And training reads them; before, it says which stage makes them."""
    config = {**CONFIG, "streams": {**CONFIG["streams"], "en": {**CONFIG["streams"]["en"], "sets": ["dev_en"], "speeds": [0.9]}}}
    path, dump = prepare(tmp_path, mini_data, config), tmp_path / "dump"
    dump.mkdir()
    for name in ("train_en", "dev_en"):
        (dump / name).symlink_to(mini_dump / name)
    resolved = resolve(check_config(TrainConfig, config, "x"))
    assert resolved.stored_speeds() == {"dev_en": [0.9]}
    with pytest.raises(UserError, match=r"dev_en_sp0.9/feats.scp: no features; run stage 1"):
        gather(resolved, mini_data, dump, tmp_path)
    options = ["--config", str(ROOT / "egs/mini/conf/fbank.yaml"), "--data", str(mini_data), "--dump", str(dump), "--keep"]
    assert fbank.main([*options, "--nj", "1", "--train_config", str(path)]) == 0
    slow, plain = (gather(one, mini_data, dump, tmp_path).train[stream] for one, stream in ((resolved, "en"), (resolved, "raw")))
    first, same = slow.load([0, 7], (1, "en", 0, 0))[0], UtteranceIndex(mini_data / "dev_en", dump / "dev_en")
    assert first.utt_ids == [same.utt_ids(0), same.utt_ids(7)]
    assert np.allclose(first.lengths["feats"], np.array([same.frames[0], same.frames[7]]) / 0.9, atol=3)
    assert (slow.frames >= first.lengths["feats"].max().item()).any() and plain.speeds == [1.0]


def test_an_undetermined_language_is_none_to_tell() -> None:
    config = {**CONFIG, "objectives": {**CONFIG["objectives"], "lid": {"type": "langid", "stream": "raw"}}}
    source = SimpleNamespace(index=SimpleNamespace(languages=["en", "it", "und"]))
    found = with_languages(check_config(TrainConfig, config, "x"), {"raw": source})
    assert found.objectives["lid"].options()["languages"] == ["en", "it"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda stats: stats * np.nan, "train_en/cmvn.ark: no statistics of features, or not finite"),
        (lambda stats: np.where(stats == stats[0, 3], np.inf, stats), "no statistics of features, or not finite"),
        (lambda stats: stats * 0, "no statistics of features, or not finite"),
        (lambda stats: stats[:, 1:], "statistics in 2 rows for 79 features, not 2 rows for 80 features; remove this folder"),
        (lambda stats: stats[:1], "train_en/cmvn.ark: statistics in 1 rows for 80 features, not 2 rows"),
    ],
)
def test_statistics_must_be_finite_and_of_the_features(change, message, mini_dump: Path, tmp_path: Path) -> None:
    stats = read_matrix(mini_dump / "train_en/cmvn.ark")
    for name, values in (("whole", stats.copy()), ("train_en", np.ascontiguousarray(change(stats.copy())))):
        (tmp_path / name).mkdir()
        kaldiio.save_mat(str(tmp_path / name / "cmvn.ark"), values)
    assert torch.isfinite(torch.cat(normalization(tmp_path, ["whole"], 80))).all()
    with pytest.raises(UserError, match=message):
        normalization(tmp_path, ["whole", "train_en"], 80)


def test_languages_that_no_utterance_has_are_told(mini_data: Path, mini_dump: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    prepare(tmp_path, mini_data)
    encoder = {**CONFIG["model"]["encoder"], "experts": {"count": 2, "languages": ["en", "rus"]}}
    config = resolve(check_config(TrainConfig, {**CONFIG, "model": {"encoder": encoder}}, "x"))
    gather(config, mini_data, mini_dump, tmp_path)
    problem = "model.encoder.experts.languages: no utterance is in rus; the streams have en"
    assert capsys.readouterr().out == f"warning: {problem}\n"
    config.model.encoder.experts["languages"] = ["rus"]
    with pytest.raises(UserError, match=problem):
        gather(config, mini_data, mini_dump, tmp_path)


def test_every_language_needs_an_expert() -> None:
    """Those of dev sets and of texts too, which would else be missed in the middle of a training."""
    english, others = (SimpleNamespace(index=SimpleNamespace(languages=languages)) for languages in (["en"], ["it", "en", "fr"]))
    by_language = {"count": 1, "router": "language", "languages": ["en"]}
    encoder = {**CONFIG["model"]["encoder"], "experts": by_language}
    config = resolve(check_config(TrainConfig, {**CONFIG, "model": {"encoder": encoder}}, "x"))
    check_router_languages(config, {"en": english}, {"en": english})
    for train, dev in (({"en": others}, {}), ({"en": english}, {"en": others}), ({"en": english, "texts": others}, {})):
        with pytest.raises(UserError, match="model.encoder.experts: none is for fr, it, which streams read; name them in `languages`"):
            check_router_languages(config, train, dev)
    for change in ({"count": 2}, {"router": "block"}):  # one for all others, or routers that learn
        config.model.encoder.experts = {**by_language, **change}
        check_router_languages(config, {"en": others}, {"en": others})
