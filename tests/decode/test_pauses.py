"""Streams of real speech, cut at their pauses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from m2asr.data.audio import read_audio
from m2asr.data.directory import read_table
from m2asr.data.resample import resampler
from m2asr.decode import vad
from m2asr.decode.pauses import PauseCutter
from m2asr.decode.piece import Piece
from m2asr.decode.vad import SpeechDetector
from m2asr.errors import UserError

RATE = 16000


def test_without_silero_vad_it_is_told(monkeypatch):
    monkeypatch.setattr(vad, "available", lambda: False)
    with pytest.raises(UserError, match="pip install silero-vad; or use --cut windows"):
        SpeechDetector()


@pytest.fixture(scope="module")
def detector() -> SpeechDetector:
    pytest.importorskip("silero_vad")
    threads = torch.get_num_threads()
    new_detector = SpeechDetector()
    assert torch.get_num_threads() == threads
    return new_detector


@pytest.fixture(scope="module")
def speech(mini_data: Path) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Eight recordings with 1.5 s of faint noise before each and at the end, and where they lie in seconds."""
    rng = np.random.default_rng(0)
    seconds = read_table(mini_data / "dev_it/utt2dur")
    wavs = [wav for utt, wav in read_table(mini_data / "dev_it/wav.scp").items() if float(seconds[utt]) > 1.5][:8]
    waves, spans, at = [], [], 0.0
    for wave in (*(read_audio(wav)[0] for wav in wavs), np.zeros(0, np.float32)):
        waves += [(2e-4 * rng.standard_normal(round(1.5 * RATE))).astype(np.float32), wave]
        spans.append((at + 1.5, at + 1.5 + len(wave) / RATE))
        at = spans[-1][1]
    return np.concatenate(waves), spans[:-1]


def cut(detector: SpeechDetector, wave: np.ndarray, rate: int = RATE, block: int = 300001, **options: float) -> list[Piece]:
    cutter = PauseCutter(rate, **{"pause": 0.5, "longest": 25.0, "detector": detector} | options)
    return [piece for start in range(0, len(wave), block) for piece in cutter(wave[start : start + block])] + list(cutter.rest())


def test_pieces_are_the_recordings(detector, speech):
    wave, spans = speech
    pieces = cut(detector, wave)
    middles = [piece.start + len(piece.wave) / RATE / 2 for piece in pieces]
    assert all(any(start < middle < end for start, end in spans) for middle in middles)  # none of the pauses
    for piece in pieces:
        first = round(piece.start * RATE)
        assert np.array_equal(piece.wave, wave[first : first + len(piece.wave)])
    for start, end in spans:
        inside = [piece for piece, middle in zip(pieces, middles, strict=True) if start < middle < end]
        assert inside, "a recording was lost"
        assert inside[0].start < start + 0.4 and inside[-1].start + len(inside[-1].wave) / RATE > end - 0.7
    ends = [piece.start + len(piece.wave) / RATE for piece in pieces]
    assert all(end <= piece.start for end, piece in zip(ends, pieces[1:], strict=False))


def test_pieces_have_half_a_pause_before_and_after_them(detector, speech):
    """At most 5 chunks of 32 ms, here also 2."""
    wide, narrow = cut(detector, speech[0], pause=1.0), cut(detector, speech[0], pause=0.128)
    assert narrow[0].start - wide[0].start == pytest.approx(3 * 0.032)
    ends = [pieces[-1].start + len(pieces[-1].wave) / RATE for pieces in (wide, narrow)]
    assert ends[0] - ends[1] == pytest.approx(3 * 0.032)


def test_blocks_do_not_matter(detector, speech):
    pieces = cut(detector, speech[0])
    for block in (1000, 12345):
        pieces_of_blocks = cut(detector, speech[0], block=block)
        assert [(piece.start, len(piece.wave)) for piece in pieces_of_blocks] == [(piece.start, len(piece.wave)) for piece in pieces]


def test_long_speech_is_cut_where_it_is_quiet(detector, speech):
    wave, spans = speech
    joined = np.concatenate([wave[round(start * RATE) : round(end * RATE)] for start, end in spans])
    pieces = cut(detector, joined, pause=2.0, longest=4.0)
    lengths = [len(piece.wave) / RATE for piece in pieces]
    assert max(lengths) <= 4.0 and sum(lengths) == pytest.approx(len(joined) / RATE, abs=0.5)  # nothing between them is lost
    ends = [piece.start + size for piece, size in zip(pieces, lengths, strict=True)]
    assert [piece.start for piece in pieces[1:]] == pytest.approx(ends[:-1], abs=1e-6)
    window = 400
    loud = np.sqrt(np.convolve(joined**2, np.ones(window) / window, mode="same"))
    assert np.mean([loud[round(piece.start * RATE)] for piece in pieces[1:]]) < 0.7 * loud.mean()


@pytest.mark.parametrize("rate", [8000, 22050])
def test_other_rates_give_the_same_cuts(detector, speech, rate):
    wave = resampler(RATE, rate)(torch.from_numpy(speech[0])).numpy()
    expected, pieces = cut(detector, speech[0]), cut(detector, wave, rate=rate)
    assert len(pieces) == len(expected)
    for piece, reference in zip(pieces, expected, strict=True):
        assert piece.start == pytest.approx(reference.start, abs=0.15)
        assert len(piece.wave) / rate == pytest.approx(len(reference.wave) / RATE, abs=0.25)


@pytest.mark.parametrize("scale", [0.0, 1e-4, 0.1])
def test_silence_and_noise_have_no_pieces(detector, scale):
    noise = (scale * np.random.default_rng(0).standard_normal(20 * RATE)).astype(np.float32)
    assert cut(detector, noise) == [] and cut(detector, noise[:5]) == []


def test_memory_is_that_of_a_piece(detector, speech):
    cutter = PauseCutter(RATE, 0.5, 25.0, detector)
    held = []
    for start in range(0, len(speech[0]), 4000):
        list(cutter(speech[0][start : start + 4000]))
        held.append(len(cutter._wave) / RATE)
    assert max(held) < 1.5 + max(end - start for start, end in speech[1]) and held[-1] < 1
