"""text.codes of real speech, written by a small run whose weights are as they begin."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from m2asr.data.directory import read_table
from m2asr.data.streams import BadUtterances
from m2asr.data.validate import validate
from m2asr.decode import codes as module
from m2asr.decode.codebook import Codebook
from m2asr.decode.codes import Speech, learn_codebook, without_repeats, write_codes
from m2asr.decode.pooled_states import PooledStates
from m2asr.errors import UserError
from m2asr.train import checkpoint


def speech(run, name: str, seconds: float = 20.0) -> Speech:
    return Speech.open(run.data / name, run.dump, run.exp, seconds)


def learned(run, **options) -> Codebook:
    options = {"clusters": 8, "share": 1.0, "passes": 1, "seed": 1, **options}
    sets = [speech(run, name) for name in ("dev_en", "dev_it")]
    return learn_codebook(sets, PooledStates(run.exp, "block1", 2), **options, bad=BadUtterances(0))


@pytest.fixture(scope="module")
def codebook(untrained) -> Codebook:
    return learned(untrained)


def write(run, codebook: Codebook, name: str = "test_en", seconds: float = 20.0, bad: int = 0):
    return write_codes(speech(run, name, seconds), PooledStates(run.exp, "block1", 2), codebook, BadUtterances(bad))


def test_repeats_are_left_out() -> None:
    assert without_repeats(np.array([3, 3, 0, 0, 0, 3, 1, 1])).tolist() == [3, 0, 3, 1]
    assert without_repeats(np.zeros(0, dtype=np.int64)).tolist() == [] and without_repeats(np.array([0])).tolist() == [0]


def test_the_seed_decides_the_codebook(untrained, codebook: Codebook) -> None:
    assert codebook.centroids.shape == (8, 32) and codebook.tap == "block1"
    assert learned(untrained).digest == codebook.digest
    others = [learned(untrained, **change).digest for change in ({"seed": 2}, {"passes": 2}, {"share": 0.5})]
    assert len({codebook.digest, *others}) == 4


def test_codes_are_the_clusters_of_the_states(run, codebook: Codebook) -> None:
    report = write(run, codebook)
    codes, lengths = read_table(run.data / "test_en/text.codes"), read_table(run.data / "test_en/utt2codes")
    reader, source = PooledStates(run.exp, "block1", 2), speech(run, "test_en")
    counts = np.zeros(8, dtype=np.int64)
    for i in range(len(source.index)):
        rows = reader([source.index.feats(i)], [source.index.lang(i)])[0]
        expected = torch.cdist(rows, torch.from_numpy(codebook.centroids)).argmin(1).tolist()
        counts += np.bincount(expected, minlength=8)
        utt = source.index.utt_ids(i)
        written = [int(word.removeprefix("c")) for word in codes[utt].split()]
        assert written == [code for n, code in enumerate(expected) if n == 0 or expected[n - 1] != code]
        assert lengths[utt] == f"{len(expected)} 0.08 {codebook.digest}"
    shares = counts[counts > 0] / counts.sum()
    assert list(codes) == sorted(codes) and counts.tolist() == report.counts.tolist()
    assert report.perplexity == pytest.approx(np.prod(shares**-shares))
    assert f"{(counts > 0).sum()} of 8 clusters used, perplexity {report.perplexity:.1f}\n" in str(report)
    assert f"written, 5 utterances, {sum(len(text.split()) for text in codes.values())} codes\n" in str(report)
    assert f"{counts.sum() / (source.frames.sum() / 100):.2f} codes per second" in str(report)
    assert validate(run.data / "test_en", audio=False, keep_long_text=True).clean


def test_small_pieces_of_a_set_give_the_same_file(run, codebook: Codebook, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does a second call, and the unchanged file keeps its time, so that indexes stay valid."""
    write(run, codebook, "dev_it")
    path = run.data / "dev_it/text.codes"
    content = path.read_text()
    os.utime(path, (1, 1))
    monkeypatch.setattr(module, "CHUNK", 3)
    report = write(run, codebook, "dev_it", seconds=4.0)
    assert path.read_text() == content and report.state == "unchanged" and path.stat().st_mtime == 1
    assert list(read_table(path)) == sorted(read_table(run.data / "dev_it/utt2spk"))


def test_codes_from_recordings_are_those_from_stored_features(run, codebook: Codebook) -> None:
    write(run, codebook)
    stored = read_table(run.data / "test_en/text.codes")
    source = Speech.open(run.data / "test_en", None, run.exp, 20.0)
    write_codes(source, PooledStates(run.exp, "block1", 2), codebook, BadUtterances(0))
    assert read_table(run.data / "test_en/text.codes") == stored


def test_utterances_without_codes_are_counted_and_named(run, codebook: Codebook, capsys: pytest.CaptureFixture[str]) -> None:
    scp = run.dump / "test_en/feats.scp"
    lines = scp.read_text().splitlines()
    utt = lines[1].split()[0]
    scp.write_text("\n".join([lines[0], f"{utt} /nonexistent:5", *lines[2:]]) + "\n")
    with pytest.raises(UserError, match=rf"set test_en, utterance {utt}: .*\(bad utterances: 1, train.max_bad allows 0\)"):
        write(run, codebook)
    assert not (run.data / "test_en/text.codes").exists() and not (run.data / "test_en/utt2codes").exists()
    report = write(run, codebook, bad=1)
    assert utt in capsys.readouterr().err
    assert f"  without a line, unreadable or too short: 1\n  {utt}" in str(report)
    assert len(read_table(run.data / "test_en/text.codes")) == 4 and utt not in read_table(run.data / "test_en/utt2codes")
    assert validate(run.data / "test_en", audio=False, keep_long_text=True).clean


def test_states_that_are_no_numbers_are_no_codes(run, codebook: Codebook) -> None:
    state = checkpoint.load(run.exp / "model.pt")
    state["model"]["encoder.blocks.0.norm.weight"] += 3e38  # a model that is not finite itself is refused when it is read
    checkpoint.write(run.exp / "model.pt", {key: state[key] for key in ("config", "model")})
    with pytest.raises(UserError, match="its states are not finite numbers"):
        write(run, codebook)
    with pytest.raises(UserError, match="test_en: no utterance has codes"):
        write(run, codebook, bad=5)
    assert not (run.data / "test_en/text.codes").exists()


def test_a_codebook_of_another_run_is_refused(run, codebook: Codebook) -> None:
    codebook.check(PooledStates(run.exp, "block1", 2), Path("codebook.npz"))
    state = checkpoint.load(run.exp / "model.pt")
    state["model"]["encoder.blocks.0.norm.weight"] += 0.1
    checkpoint.write(run.exp / "model.pt", {key: state[key] for key in ("config", "model")})
    with pytest.raises(UserError, match=f"codebook.npz: the run .* had other weights .* than {run.exp} has; give the --exp"):
        codebook.check(PooledStates(run.exp, "block1", 2), Path("codebook.npz"))


def test_sets_that_have_no_codes(run) -> None:
    texts = run.data / "texts"
    texts.mkdir()
    (texts / "text").write_text("a ciao\n")
    (texts / "utt2lang").write_text("a it\n")
    with pytest.raises(UserError, match="texts: a text set has no audio, and so no codes"):
        Speech.open(texts, None, run.exp, 20.0)
    path = run.dump / "dev_en/fbank.yaml"
    path.write_text(path.read_text().replace("frame_shift: 10.0", "frame_shift: 12.5"))
    with pytest.raises(UserError, match="dev_en: its features were computed otherwise than those that .*exp was trained on"):
        speech(run, "dev_en")
