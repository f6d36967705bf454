"""Recordings to text in Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from rapidfuzz.distance import Levenshtein

from m2asr.config import DecodeConfig, FbankConfig, dump_config
from m2asr.data.audio import read_audio
from m2asr.data.directory import read_table
from m2asr.data.resample import resampler
from m2asr.decode.align import Aligner
from m2asr.decode.transcriber import DEFAULT, Transcriber
from m2asr.decode.vad import available
from m2asr.errors import UserError
from m2asr.objectives.build import build_system, resolve
from m2asr.text.tokenizer import train_tokenizer
from m2asr.train import checkpoint
from m2asr.train_config import TrainConfig
from tests.decode.trained import quiet, trained_once

RATE = 16000
CUTS = [pytest.param("pauses", marks=pytest.mark.skipif(not available(), reason="silero-vad is not installed")), "windows"]
ATTENTION = {"type": "transformer", "blocks": 1, "dim": 16, "heads": 2}
ENCODER = {"type": "conformer", "blocks": 1, "dim": 16, "heads": 2, "kernel": 3}
NOISE = (0.01 * np.random.default_rng(0).standard_normal(3 * RATE)).astype(np.float32)


def untrained(exp: Path, objectives: dict[str, dict], streams: dict[str, str | None], **modules: dict) -> Path:
    """A run with random weights and a tokenizer of a few letters; `streams` have languages, `modules` belong to the model.

    An `encoder` among the modules holds further options.
    """
    config = resolve(
        TrainConfig.model_validate(
            {
                "model": {**modules, "encoder": ENCODER | modules.get("encoder", {})},
                "streams": {name: {"sets": ["x"], **({"lang": lang} if lang else {})} for name, lang in streams.items()},
                "tokens": {"t": {"type": "char", "sets": ["x"]}},
                "objectives": objectives,
            }
        )
    )
    vocab = {"t": train_tokenizer("char", None, ["abc de"], exp / "tokens/t").size}
    torch.manual_seed(0)
    weights = build_system(config, vocab, feat_dim=80).state_dict()
    checkpoint.write(exp / "model.pt", {"model": weights, "config": config.model_dump(mode="json")})
    (exp / "fbank.yaml").write_text(dump_config(FbankConfig()))
    return exp


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("noise") / "noise.wav"
    soundfile.write(path, NOISE, RATE)
    return path


def alike(text: str, texts: list[str], errors: float = 0.25) -> bool:
    """Whether at most this share of the letters is wrong: sentences are heard with other pauses around them than in training."""
    return Levenshtein.normalized_distance(text, " ".join(texts)) <= errors


def ctc(stream: str, text: str = "text") -> dict[str, str]:
    return {"type": "ctc", "stream": stream, "tokens": "t", "text": text}


def attention(stream: str) -> dict[str, object]:
    return {"type": "attention", "stream": stream, "tokens": "t", "decoder": ATTENTION}


def test_which_language(tmp_path, noise):
    transcriber = Transcriber(untrained(tmp_path / "several", {"a": ctc("en"), "b": ctc("it")}, {"en": "en", "it": "it"}), cut="windows")
    for lang, to, message in (
        (None, None, "which language\\? give --lang, one of en, it"),
        ("fr", None, "no head reads fr; there are heads for en, it"),
        ("en", "de", "no head translates en into de; translations of this system: none"),
    ):
        with pytest.raises(UserError, match=message) as error:
            transcriber(noise, lang=lang, to=to)
        assert "\n" not in str(error.value)
    assert transcriber(noise, lang="it").lang == transcriber(noise, lang="it", to="it").lang == "it"

    single = Transcriber(untrained(tmp_path / "single", {"a": ctc("en"), "s": ctc("en", "text.de")}, {"en": "en"}), cut="windows")
    assert single(noise).lang == "en"
    with pytest.raises(UserError, match="no head translates en into it; translations of this system: en into de"):
        single(noise, to="it")

    shared = Transcriber(untrained(tmp_path / "shared", {"a": ctc("all")}, {"all": None}), cut="windows")
    assert shared(noise).lang == "und" and shared(noise, lang="fr").text == shared(noise).text != ""


def test_experts_that_are_chosen_by_the_language(tmp_path, noise):
    encoder = {"experts": {"count": 2, "languages": ["en", "it"]}}
    transcriber = Transcriber(untrained(tmp_path, {"a": ctc("all")}, {"all": None}, encoder=encoder), cut="windows")
    with pytest.raises(UserError, match="which language\\? give --lang; the experts .* chosen by the language too: en, it"):
        transcriber(noise)
    note = "fr is none of the languages that its experts are chosen by, en, it: expect more errors"
    assert note in transcriber(noise, lang="fr").notes and note not in transcriber(noise, lang="it").notes

    encoder = {"experts": {"count": 2, "router": "language", "languages": ["en", "it"]}}
    transcriber = Transcriber(untrained(tmp_path / "each", {"a": ctc("all")}, {"all": None}, encoder=encoder), cut="windows")
    assert note not in transcriber(noise, lang="it").notes
    with pytest.raises(UserError, match="no expert of the encoder is for language fr, only for en, it"):
        transcriber(noise, lang="fr")


def test_a_decoder_alone_gives_times_of_segments(tmp_path, noise, monkeypatch):
    exp = untrained(tmp_path, {"a": attention("en")}, {"en": "en"})
    with pytest.raises(UserError, match="windows are joined by the times of their words, and objectives.a has no CTC objective"):
        Transcriber(exp, cut="windows")(noise)
    pytest.importorskip("silero_vad")
    monkeypatch.setattr("m2asr.decode.pauses.SPEECH", 0.0)  # everything is speech
    transcript = Transcriber(exp, DecodeConfig(method="attention", beam=2, max_ratio=0.2), cut="pauses")(noise)
    assert transcript.text and not transcript.words
    assert (transcript.segments[0].start, transcript.segments[0].end) == pytest.approx((0.0, 3.0), abs=0.05)
    assert transcript.notes == ["times are those of segments: there is no CTC objective that tells when words are said"]


def test_a_ctc_objective_tells_the_times_of_a_decoder(tmp_path, noise):
    exp = untrained(tmp_path, {"a": attention("en"), "c": ctc("en")}, {"en": "en"})
    transcript = Transcriber(exp, DecodeConfig(method="attention", beam=2, max_ratio=0.2), cut="windows")(noise)
    assert transcript.text and [word.text for word in transcript.words] == transcript.text.split()


def test_transducers_write_transcripts(tmp_path, noise, monkeypatch):
    """In windows and with times where CTC gives these; else pieces are cut at pauses."""
    modules = {"p": {"type": "stateless_predictor", "dim": 8}, "j": {"type": "joiner", "dim": 8}}
    transducer = {"type": "transducer", "stream": "en", "tokens": "t", "predictor": "p", "joiner": "j", "max_symbols": 1}
    exp = untrained(tmp_path / "both", {"a": transducer, "c": ctc("en")}, {"en": "en"}, **modules)
    for options in ({"beam": 2}, {"hotwords": {"phrases": ["de"], "bonus": 2.0}}):
        search = DecodeConfig.model_validate({"method": "transducer", **options})
        transcript = Transcriber(exp, search, cut="windows", longest=2.0)(noise)
        assert transcript.text and [word.text for word in transcript.words] == transcript.text.split()
    exp = untrained(tmp_path / "alone", {"a": transducer}, {"en": "en"}, **modules)
    with pytest.raises(UserError, match="windows are joined by the times of their words, and objectives.a has no CTC objective"):
        Transcriber(exp, cut="windows")(noise)
    with pytest.raises(UserError, match="no objective of type ctc reads `text`; an alignment needs one, also beside a transducer"):
        Aligner(exp)
    pytest.importorskip("silero_vad")
    monkeypatch.setattr("m2asr.decode.pauses.SPEECH", 0.0)  # everything is speech
    transcript = Transcriber(exp, cut="pauses")(noise)  # a prefix beam
    assert transcript.text and not transcript.words and "there is no CTC objective" in transcript.notes[0]


def test_windows_and_whole_give_the_words_of_every_window_once(tmp_path, noise):
    """Joined, several windows are as long as the recording, and no word stands beside itself at the same time."""
    exp = untrained(tmp_path, {"a": ctc("en")}, {"en": "en"})
    words = Transcriber(exp, cut="windows", longest=2.0)(noise).words
    assert words[-1].end > 2.0 and all(before.middle < after.middle for before, after in zip(words, words[1:], strict=False))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, mini_data: Path) -> Path:
    return trained_once(tmp_path_factory, mini_data)


@pytest.fixture(scope="module")
def call(root: Path) -> tuple[Path, list[str], list[tuple[float, float]]]:
    """A recording of Italian sentences with pauses, what is said in it, and when."""
    texts, wavs = read_table(root / "data/some_it/text"), read_table(root / "data/some_it/wav.scp")
    waves, spans, at = [], [], 0.0
    for utt in texts:
        wave, _ = read_audio(wavs[utt])
        waves += [quiet(1.2), wave]
        spans.append((at + 1.2, at + 1.2 + len(wave) / RATE))
        at = spans[-1][1]
    path = root / "call.wav"
    soundfile.write(path, np.concatenate([*waves, quiet(1.0)]), RATE)
    return path, list(texts.values()), spans


@pytest.mark.slow
@pytest.mark.skipif(not available(), reason="silero-vad is not installed")
def test_a_call_cut_at_pauses(root, call):
    path, texts, spans = call
    progress: list[float] = []
    transcript = Transcriber(root / "exp")(path, to="en", progress=progress.append)  # langid tells the language
    assert (transcript.lang, transcript.to, transcript.complete, transcript.notes) == ("it", "en", True, [])
    assert alike(transcript.text, texts) and [word.text for word in transcript.words] == transcript.text.split()
    assert sum(progress) == pytest.approx(transcript.seconds, abs=0.01)
    translations = list(read_table(root / "data/some_it/text.en").values())
    assert alike(transcript.translation, translations, 0.4)
    edges = [edge for word in transcript.words for edge in (word.start, word.end)]
    assert edges == sorted(edges)
    for start, end in spans:
        assert any(start - 0.2 < word.middle < end + 0.2 for word in transcript.words)
    assert all(any(start - 0.2 < word.middle < end + 0.2 for start, end in spans) for word in transcript.words)
    assert all(0 < word.confidence <= 1 for word in transcript.words)
    for batch_seconds in (1.0, 1000.0):
        config = DEFAULT.model_copy(update={"batch_seconds": batch_seconds})
        assert Transcriber(root / "exp", config)(path, lang="it").text == transcript.text


@pytest.mark.slow
@pytest.mark.skipif(not available(), reason="silero-vad is not installed")
def test_rates_channels_and_formats(root, call, tmp_path):
    path, texts, _ = call
    wave, _ = read_audio(str(path))
    english = np.concatenate([quiet(1.0), read_audio(next(iter(read_table(root / "data/some_en/wav.scp").values())))[0], quiet(1.0)])
    high = resampler(RATE, 44100)(torch.from_numpy(wave)).numpy()
    soundfile.write(tmp_path / "high.flac", high, 44100)
    soundfile.write(tmp_path / "stereo.wav", np.stack([wave, np.pad(english, (0, len(wave) - len(english)))], axis=1), RATE)
    transcriber = Transcriber(root / "exp")
    assert alike(transcriber(tmp_path / "high.flac").text, texts)
    separate = Transcriber(root / "exp", channels="each")(tmp_path / "stereo.wav", lang="it")
    assert separate.channels == 2 and alike(" ".join(segment.text for segment in separate.segments if segment.channel == 1), texts)
    assert any(segment.channel == 2 for segment in separate.segments)
    soundfile.write(tmp_path / "low.wav", wave[::2], 8000)
    assert "8000 Hz, the system learned from 16000 Hz" in transcriber(tmp_path / "low.wav", lang="it").notes[0]


@pytest.mark.slow
@pytest.mark.parametrize("cut", CUTS)
def test_nothing_to_hear(root, tmp_path, cut):
    transcriber = Transcriber(root / "exp", cut=cut)
    soundfile.write(tmp_path / "tiny.wav", np.zeros(50), RATE)
    transcript = transcriber(tmp_path / "tiny.wav")
    assert (transcript.text, transcript.notes, transcript.segments) == ("", ["no speech was found"], [])
    soundfile.write(tmp_path / "silence.wav", np.zeros(3 * RATE), RATE)
    transcript = transcriber(tmp_path / "silence.wav", lang="en")
    assert transcript.text == "" if cut == "pauses" else transcript.seconds == 3
    soundfile.write(tmp_path / "noise.wav", 0.1 * np.random.default_rng(0).standard_normal(3 * RATE), RATE)
    assert cut == "windows" or transcriber(tmp_path / "noise.wav").notes == ["no speech was found"]
