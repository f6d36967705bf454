"""Alignment of real speech by a system that knows it by heart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from m2asr.config import FbankConfig
from m2asr.data.audio import read_audio
from m2asr.data.directory import read_table, read_tables, replace_data_dir, write_table
from m2asr.data.feats import AudioFeats, StoredFeats
from m2asr.data.index import UtteranceIndex
from m2asr.decode.align import Aligned, Aligner
from m2asr.decode.aligned_files import write_aligned
from m2asr.errors import UserError
from m2asr.models.experts import Experts
from tests.decode.test_textgrid import parse
from tests.decode.trained import quiet, trained_once

pytestmark = pytest.mark.slow
FBANK = FbankConfig()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, mini_data: Path) -> Path:
    return trained_once(tmp_path_factory, mini_data)


@pytest.fixture(scope="module")
def aligner(root: Path) -> Aligner:
    return Aligner(root / "exp")


def align_set(aligner: Aligner, data: Path, batch_seconds: float = 120.0) -> dict[str, Aligned]:
    results = list(aligner.align_set(UtteranceIndex(data), AudioFeats(FBANK), FBANK, batch_seconds))
    assert len({result.utt for result in results}) == len(results)
    return {result.utt: result for result in results}


def test_times_grow_within_the_recording_and_words_hold_their_tokens(root, aligner):
    texts, seconds = read_table(root / "data/some_it/text"), read_table(root / "data/some_it/utt2dur")
    results = align_set(aligner, root / "data/some_it")
    assert results.keys() == texts.keys()
    for utt, result in results.items():
        assert not result.problem and result.text == texts[utt] and result.seconds == pytest.approx(float(seconds[utt]), abs=0.01)
        assert [word.text for word in result.words] == texts[utt].split()
        assert "".join(token.text for token in result.tokens) == texts[utt].replace(" ", "▁")
        for marks in (result.words, result.tokens):
            edges = [edge for mark in marks for edge in (mark.start, mark.end)]
            assert edges == sorted(edges) and edges[0] >= 0 and edges[-1] <= result.seconds
            assert all(mark.start < mark.end and 0 < mark.confidence <= 1 for mark in marks)
        assert result.score < 0


def test_words_are_found_where_they_are_said(root, aligner):
    """Silence before a recording moves the ends of its words by its length."""
    utt, text = "en_allison-letters_ascii125", "right brace"
    wave, rate = read_audio(read_table(root / "data/some_en/wav.scp")[utt])
    path = root / "later.wav"
    soundfile.write(path, np.concatenate([quiet(0.7, rate), wave]), rate)
    plain, later = align_set(aligner, root / "data/some_en")[utt], aligner.recording(path, text.upper() + "!", "en")
    assert [word.text for word in later.words] == text.split() and later.seconds == pytest.approx(plain.seconds + 0.7, abs=0.02)
    for before, after in zip(plain.words, later.words, strict=True):
        assert after.end - before.end == pytest.approx(0.7, abs=0.13)
    assert all(0.7 < word.middle < later.seconds for word in later.words[1:])


def test_a_recording_too_long_for_the_memory_is_named(root, aligner, monkeypatch):
    path = root / "long.wav"
    soundfile.write(path, quiet(3.0, 16000), 16000)
    monkeypatch.setattr(aligner, "align", lambda *_: torch.empty(2**55))
    with pytest.raises(UserError, match=r"out of memory with \S+long\.wav of 3 s; cut it"):
        aligner.recording(path, "hello", "en")


def test_batching_changes_nothing(root, aligner):
    data = root / "data/some_en"
    together, alone = align_set(aligner, data), align_set(aligner, data, batch_seconds=0.1)
    for utt, result in together.items():
        assert [word[:3] for word in alone[utt].words] == [word[:3] for word in result.words]
        assert alone[utt].score == pytest.approx(result.score, abs=1e-4)


def test_stored_features_give_the_same(root, aligner):
    data = root / "data/some_en"
    stored = aligner.align_set(UtteranceIndex(data, root / "dump/some_en"), StoredFeats(), FBANK)
    computed = align_set(aligner, data)
    assert {result.utt: result.words for result in stored} == {utt: result.words for utt, result in computed.items()}


def test_swapped_texts_are_the_worst(root, aligner, tmp_path):
    tables = read_tables(root / "data/some_it")
    first, second = "it_carlo-you-entered", "it_carlo-vm-cust2"
    tables["text"][first], tables["text"][second] = tables["text"][second], tables["text"][first]
    replace_data_dir(tmp_path / "swapped", tables)
    results = align_set(aligner, tmp_path / "swapped")
    out = tmp_path / "out"
    ranked = write_aligned(out, results.values())
    assert {result.utt for result in ranked[:2]} == {first, second} and len(ranked) == 6
    lines = (out / "scores").read_text().splitlines()
    assert [line.split()[0] for line in lines] == [result.utt for result in ranked]
    assert lines[0].split(" ", 2)[2] == tables["text"][ranked[0].utt]
    assert float(lines[1].split()[1]) < 5 * float(lines[2].split()[1]) < 0


def test_files_agree_with_each_other(root, aligner, tmp_path):
    results = align_set(aligner, root / "data/some_en")
    write_aligned(tmp_path / "out", results.values())
    for name in ("words", "tokens"):
        rows = [line.split() for line in (tmp_path / f"out/{name}.ctm").read_text().splitlines()]
        assert [row[0] for row in rows] == sorted(row[0] for row in rows)
        for utt, result in results.items():
            utt_rows = [row for row in rows if row[0] == utt]
            assert [row[4] for row in utt_rows] == [mark.text for mark in getattr(result, name)]
            tier = parse((tmp_path / f"out/textgrid/{utt}.TextGrid").read_text())[name]
            assert tier[-1][1] == pytest.approx(result.seconds)
            starts = [float(row[2]) for row in utt_rows]
            assert [start for start, _, text in tier if text] == pytest.approx(starts, abs=6e-4)


def test_texts_that_cannot_be_aligned_are_told_and_the_others_done(root, aligner, tmp_path):
    tables = read_tables(root / "data/paused_en")
    utts = sorted(tables["text"])
    bad = dict(zip(utts, ["", "left brače", "left brace " * 20, "you"], strict=False))
    tables["text"] |= bad
    tables["utt2lang"][utts[3]] = "fr"
    tables["wav.scp"][utts[4]] = str(tmp_path / "gone.wav")
    del tables["text"][utts[5]]
    replace_data_dir(tmp_path / "bad", tables)
    write_table(tmp_path / "bad/text", tables["text"])
    results = align_set(aligner, tmp_path / "bad")
    problems = {utt: result.problem for utt, result in results.items() if result.problem}
    messages = ["empty text", "shown as ⁇: left bra⁇e", "text too long: 219 tokens need", "no head reads fr", "No such file", "no line"]
    assert list(problems) and problems.keys() == set(utts[:6])
    for utt, message in zip(utts, messages, strict=False):
        assert message in problems[utt] and "\n" not in problems[utt]
    write_aligned(tmp_path / "out", results.values(), ["ctm"])
    assert read_table(tmp_path / "out/unaligned") == problems
    assert len((tmp_path / "out/scores").read_text().splitlines()) == 12 and not (tmp_path / "out/textgrid").exists()


def test_utterances_without_an_expert_are_told_and_the_others_done(root, aligner, tmp_path, monkeypatch):
    """Those of another language stand in the same batches; what is left out of a batch changes nothing for the others."""
    tables = read_tables(root / "data/paused_en")
    expected = align_set(aligner, root / "data/paused_en")
    utts = sorted(tables["text"])[::3]
    tables["utt2lang"] |= dict.fromkeys(utts, "it")
    replace_data_dir(tmp_path / "mixed", tables)
    write_table(tmp_path / "mixed/text", tables["text"])
    monkeypatch.setattr(aligner.system.encoder, "experts", Experts(count=1, router="language", languages=["en"]))
    results = align_set(aligner, tmp_path / "mixed")
    problems = {utt: result.problem for utt, result in results.items() if result.problem}
    assert problems == dict.fromkeys(utts, "no expert of the encoder is for language it, only for en")
    for utt in results.keys() - problems.keys():
        assert results[utt].score == pytest.approx(expected[utt].score, abs=1e-3)
        assert [word.text for word in results[utt].words] == [word.text for word in expected[utt].words]


def test_recordings_that_cannot_be_aligned_are_told(root, aligner, tmp_path):
    soundfile.write(tmp_path / "short.wav", np.zeros(100), 16000)
    for path, lang, message in (
        (tmp_path / "gone.wav", "en", "No such file"),
        (tmp_path / "short.wav", "en", "100 samples are less than one window of 25 ms"),
        (tmp_path / "short.wav", "de", "no head reads de; there are heads for en, it"),
    ):
        with pytest.raises(UserError, match=message):
            aligner.recording(path, "left brace", lang)


@pytest.mark.parametrize("shift", [5.0, 10.0, 20.0])
def test_batches_hold_so_many_seconds_at_every_frame_shift(aligner: Aligner, root: Path, monkeypatch, shift: float) -> None:
    """Six short recordings, in batches of four seconds."""
    fbank, sizes = FbankConfig(frame_shift=shift), []
    monkeypatch.setattr(aligner, "align", lambda batch, _: sizes.append(len(batch) * max(len(item.feats) for item in batch)) or [])
    list(aligner.align_set(UtteranceIndex(root / "data/some_it"), AudioFeats(fbank), fbank, batch_seconds=4.0))
    assert 2.5 < max(sizes) * shift / 1000 <= 4
