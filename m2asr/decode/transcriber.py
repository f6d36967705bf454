"""Recordings to text with a trained run: of any length, format, rate and number of channels.

  from m2asr.decode.transcriber import Transcriber
  transcriber = Transcriber("exp/train_m2asr")
  print(transcriber("call.wav", lang="it").text)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch

from m2asr.config import DecodeConfig
from m2asr.data.batching import sorted_batches
from m2asr.data.recording import Recording
from m2asr.decode.ctc_align import ctc_align
from m2asr.decode.encode import encode
from m2asr.decode.heads import marking_head, no_recognizer, no_translator, recognizer, spoken_languages, translator
from m2asr.decode.leads import langid_objective
from m2asr.decode.marks import StateTimes, token_marks, word_marks
from m2asr.decode.pauses import PauseCutter
from m2asr.decode.piece import Piece
from m2asr.decode.readings import best_saved, saved_search, text_models
from m2asr.decode.recognize import Reading
from m2asr.decode.search import Reader, readers, search
from m2asr.decode.segments import Answer, Read, Span, to_segments
from m2asr.decode.transcript import Segment, Transcript
from m2asr.decode.tuning import lists
from m2asr.decode.vad import SpeechDetector, available
from m2asr.decode.windows import WindowCutter
from m2asr.errors import UserError
from m2asr.features.fbank import Fbank
from m2asr.models.encoded import Encoded
from m2asr.models.subsampling import Subsampling
from m2asr.train.initialize import load_trained, trained_fbank
from m2asr.train.materials import UNDETERMINED

DEFAULT = DecodeConfig(name="transcribe", method="prefix_beam")
SHARED = 4.0  # seconds that a window shares with the next, at most a quarter of it


class Heard(NamedTuple):
    """A stretch of a recording and its features (T, F)."""

    span: Span
    feats: np.ndarray


class Transcriber:
    """Turns recordings into text, and into translations where the run has them.

    `search` is a config without lists of numbers, or the name of a search that stage 5 decoded with, whose numbers it chose; by default
    the last of these with a language model, else prefix beam search.
    `cut` says where long recordings are cut: at `pauses` of so many seconds (needs silero-vad), into overlapping `windows` whose words are
    joined by their times, or `auto`: at pauses where silero-vad is installed. `longest` is the most seconds that are recognized at once.
    `channels`: their `mix`, or `each` by itself. Raises UserError where the run cannot be used so.
    """

    def __init__(
        self,
        exp: str | Path,
        search: DecodeConfig | str | None = None,
        *,
        cut: Literal["auto", "pauses", "windows"] = "auto",
        longest: float = 25.0,
        pause: float = 0.5,
        channels: Literal["mix", "each"] = "mix",
        device: str = "cpu",
    ) -> None:
        self.trained, self.system, self.tokenizers = load_trained(Path(exp), device)
        self.fbank = trained_fbank(Path(exp))
        self.longest, self.pause, self.mix = longest, pause, channels == "mix"
        self.cut = cut if cut != "auto" else "pauses" if available() else "windows"
        self.search, saved = self._search(Path(exp), search)
        self.heads = readers(self.trained, self.search.method)
        if not self.heads:
            raise UserError(f"{exp}: it has no objective of type ctc or attention that may decode, so it writes no text")
        used = list(dict.fromkeys(self.heads.values()))
        models = text_models(self.search, Path(exp), self.trained, self.tokenizers, used, device)
        settings = {reader: saved.get(reader.name, self.search) for reader in used if reader.name in saved or not lists(self.search)}
        self.readings = {reader: Reading(chosen, models.fusion(chosen, reader.tokens)) for reader, chosen in settings.items()}
        langid = langid_objective(self.trained)
        self._langid = None if langid is None else self.system.objectives[langid]
        self._times = StateTimes.of(self.fbank)
        self._fbank = Fbank(**self.fbank.geometry())
        self._detectors = [SpeechDetector()] if self.cut == "pauses" else []

    @staticmethod
    def _search(exp: Path, search: DecodeConfig | str | None) -> tuple[DecodeConfig, dict[str, DecodeConfig]]:
        """The search, and the settings of the readers for which stage 5 chose some."""
        if search is None:
            search = best_saved(exp) or DEFAULT
        if isinstance(search, str):
            return saved_search(exp, search)
        if lists(search):
            what = f"{', '.join(lists(search))} hold lists, which stage 5 (decode) chooses from"
            raise UserError(f"search {search.name}: {what}; name the search with --search, or give numbers")
        return search, {}

    def choose(self, lang: str, to: str | None) -> tuple[Reader | None, Reader | None]:
        """What recognizes a language and what translates it; None for the one that is not there or not wanted.

        Raises UserError where no head reads the language, or none translates it into `to`.
        """
        recognizes = recognizer(self.trained, self.heads, lang)
        translates = translator(self.trained, self.heads, lang, to) if to not in (None, lang) else None
        if to not in (None, lang) and translates is None:
            raise no_translator(self.trained, self.heads, lang, to)
        if recognizes is None and translates is None:
            raise no_recognizer(self.trained, self.heads, lang)
        for reader in (recognizes, translates):
            if reader is not None and reader not in self.readings:
                what = f"the search {self.search.name} has no numbers for objectives.{reader.name}"
                raise UserError(f"{what}; let stage 5 (decode) decode a set in its language too, or give another --search")
            if reader is not None and self.cut == "windows" and marking_head(self.trained, reader) is None:
                what = f"objectives.{reader.attention} has no CTC objective beside it"
                raise UserError(f"windows are joined by the times of their words, and {what}; pip install silero-vad and cut at pauses")
        return recognizes, translates

    def language(self, to: str | None = None) -> str | None:
        """The language where none is given: the only one, `und` for heads that read every language, None where langid is to tell.

        Raises UserError where there are several and nothing tells them apart.
        """
        if self._langid is not None:
            return None
        if recognizer(self.trained, self.heads, UNDETERMINED) or to and translator(self.trained, self.heads, UNDETERMINED, to):
            return UNDETERMINED
        there = spoken_languages(self.trained, self.heads)
        if len(there) > 1:
            raise UserError(f"which language? give --lang, one of {', '.join(there)}; this system has no objective langid that tells")
        return there[0]

    def __call__(
        self, path: str | Path, lang: str | None = None, to: str | None = None, progress: Callable[[float], None] | None = None
    ) -> Transcript:
        """Transcribe a recording in a language, or in the one that langid takes most of its first minutes for.

        `to`: the language to translate it into. `progress` is told how many further seconds have been heard. Raises UserError where the
        recording cannot be read, or no head reads its language.
        """
        lang = self.language(to) if lang is None else lang
        if lang is not None:
            self.choose(lang, to)
        recording = Recording(path)
        found: list[Answer] = []
        for group in self._groups(self._pieces(recording, progress or (lambda seconds: None))):
            encoded = [(batch, encode(self.system, [heard.feats for heard in batch])) for batch in self._batches(group)]
            lang = self._spoken([states for _, states in encoded]) if lang is None else lang
            recognizes, translates = self.choose(lang, to)
            for batch, states in encoded:
                spans = [heard.span for heard in batch]
                texts = self._read(recognizes, states, spans)
                translations = self._read(translates, states, spans) if translates else [None] * len(batch)
                found += map(Answer, spans, texts, translations)
        segments = to_segments(found, windows=self.cut == "windows")
        return Transcript(
            path=str(path),
            seconds=recording.seconds,
            lang=lang or UNDETERMINED,
            to=None if to == lang else to,
            segments=segments,
            channels=1 if self.mix else recording.channels,
            notes=self._notes(recording, segments, lang, to),
            whole=recording.cut is None,
        )

    def _pieces(self, recording: Recording, progress: Callable[[float], None]) -> Iterator[Heard]:
        """The pieces of a recording, each of at least one encoder state."""
        rate, told = self.fbank.sample_rate, 0.0
        cutters: list[PauseCutter | WindowCutter] = []
        for block in recording.blocks(rate, self.mix):  # (C, N)
            cutters = cutters or [self._cutter(channel) for channel in range(len(block))]
            for channel, (cutter, wave) in enumerate(zip(cutters, block, strict=True), 1):
                yield from self._heard(channel, cutter(wave))
            progress(block.shape[1] / rate)
            told += block.shape[1] / rate
        for channel, cutter in enumerate(cutters, 1):
            yield from self._heard(channel, cutter.rest())
        progress(max(0.0, recording.seconds - told))

    def _cutter(self, channel: int) -> PauseCutter | WindowCutter:
        if self.cut == "windows":
            return WindowCutter(self.fbank.sample_rate, self.longest, min(SHARED, self.longest / 4))
        while len(self._detectors) <= channel:
            self._detectors.append(SpeechDetector())
        return PauseCutter(self.fbank.sample_rate, self.pause, self.longest, self._detectors[channel])

    def _heard(self, channel: int, pieces: Iterator[Piece]) -> Iterator[Heard]:
        for piece in pieces:
            feats = self._fbank(piece.wave)  # (T, F)
            if len(feats) >= Subsampling.span:
                yield Heard(Span(channel, piece.start, piece.start + len(piece.wave) / self.fbank.sample_rate), feats)

    def _groups(self, pieces: Iterator[Heard]) -> Iterator[list[Heard]]:
        """Pieces that are read together: enough that those of a batch are of similar length, few enough for any memory."""
        group: list[Heard] = []
        for piece in pieces:
            group.append(piece)
            if sum(heard.span.seconds for heard in group) >= 2 * self.search.batch_seconds:
                yield group
                group = []
        if group:
            yield group

    def _batches(self, group: list[Heard]) -> Iterator[list[Heard]]:
        frames = np.array([len(heard.feats) for heard in group])
        for numbers in sorted_batches(frames, self.search.batch_seconds * 1000 / self.fbank.frame_shift):
            yield [group[number] for number in numbers]

    def _spoken(self, encoded: list[Encoded]) -> str:
        """The language that langid takes these pieces for, each counted by its length."""
        with torch.inference_mode():
            scores = sum((self._langid.logits(one).log_softmax(-1) * one.lengths[:, None]).sum(0) for one in encoded)  # (L,)
        return self._langid.languages[int(scores.argmax())]

    def _read(self, reader: Reader | None, encoded: Encoded, spans: list[Span]) -> list[Read]:
        """What a head writes for the pieces of a batch, with the times of the words in the recording."""
        if reader is None:
            return [Read("", []) for _ in spans]
        tokenizer, marking = self.tokenizers[reader.tokens], marking_head(self.trained, reader)
        with torch.inference_mode():
            texts = [hypothesis.tokens for hypothesis in search(self.system, reader, encoded, *self.readings[reader])]
            if marking is None:
                return [Read(tokenizer.decode(text), None) for text in texts]
            log_probs = self.system.objectives[marking].log_probs(encoded)  # (B, T', V)
            alignments = ctc_align(log_probs, encoded.lengths, texts)
        found = []
        for span, text, alignment in zip(spans, texts, alignments, strict=True):
            words = None
            if alignment is not None:
                tokens = token_marks(alignment, tokenizer, self._times, span.seconds)
                words = [word.later(span.start) for word in word_marks(tokens)]
            found.append(Read(tokenizer.decode(text), words))
        return found

    def _notes(self, recording: Recording, segments: list[Segment], lang: str | None, to: str | None) -> list[str]:
        notes = []
        if recording.cut:
            notes.append(f"truncated: {recording.cut}; transcribed as far as it goes")
        if recording.rate < self.fbank.sample_rate:
            notes.append(f"{recording.rate} Hz, the system learned from {self.fbank.sample_rate} Hz: expect more errors")
        if not segments:
            notes.append("no speech was found")
        elif all(not segment.words for segment in segments):
            notes.append("times are those of segments: there is no CTC objective that tells when words are said")
        if to is not None and to == lang:
            notes.append(f"its language is {lang}: not translated")
        return notes
