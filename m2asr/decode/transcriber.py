"""Transcribe recordings of any length, format, sample rate and number of channels with a trained run.

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
from m2asr.decode.heads import marking_head, no_recognizer_error, no_translator_error, recognizer, spoken_languages, translator
from m2asr.decode.hypothesis import warn_if_not_finite
from m2asr.decode.leads import langid_objective
from m2asr.decode.marks import StateTimes, token_marks, word_marks
from m2asr.decode.pauses import PauseCutter
from m2asr.decode.piece import Piece
from m2asr.decode.recognize import SearchSetup
from m2asr.decode.search import Reader, readers, search
from m2asr.decode.search_setup import best_saved, saved_search, text_models
from m2asr.decode.segments import Span, SpanResult, TimedText, to_segments
from m2asr.decode.transcript import Segment, Transcript
from m2asr.decode.tuning import open_numbers
from m2asr.decode.vad import SpeechDetector, available
from m2asr.decode.windows import WindowCutter
from m2asr.errors import UserError
from m2asr.features.fbank import Fbank
from m2asr.models.encoded import Encoded
from m2asr.models.subsampling import Subsampling
from m2asr.train.initialize import load_trained, trained_fbank
from m2asr.train.materials import UNDETERMINED
from m2asr.train_checks import WRITING

DEFAULT = DecodeConfig(name="transcribe", method="prefix_beam")
SHARED = 4.0  # seconds that a window shares with the next, but at most a quarter of a window


class SpanFeatures(NamedTuple):
    """A stretch of a recording and its features (T, F)."""

    span: Span
    feats: np.ndarray


class Transcriber:
    """Turns recordings into text, and into translations if the run can translate.

    search: a config without lists of numbers, or the name of a search that stage 5 tuned. The default is the last tuned search with a
    language model, or else prefix beam search. cut: where long recordings are cut: at `pauses` of `pause` seconds (needs silero-vad), into
    overlapping `windows` whose words are joined by their times, or `auto`, which is pauses if silero-vad is installed. longest: maximum
    seconds that are recognized at once. channels: their `mix`, or `each` channel separately. Raises UserError if the run does not fit.
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
            raise UserError(f"{exp}: it has no objective of type {', '.join(WRITING)} that may decode, so it writes no text")
        used = list(dict.fromkeys(self.heads.values()))
        models = text_models(self.search, Path(exp), self.trained, self.tokenizers, used, device)
        tuned = {reader: saved.get(reader.name, self.search) for reader in used if reader.name in saved or not open_numbers(self.search)}
        self.setups = {reader: SearchSetup(settings, models.fusion(settings, reader.tokens)) for reader, settings in tuned.items()}
        langid = langid_objective(self.trained)
        self._langid = None if langid is None else self.system.objectives[langid]
        self._fbank = Fbank(**self.fbank.geometry())
        self._detectors = [SpeechDetector()] if self.cut == "pauses" else []

    @staticmethod
    def _search(exp: Path, search: DecodeConfig | str | None) -> tuple[DecodeConfig, dict[str, DecodeConfig]]:
        """The search, and the settings of the readers that stage 5 tuned."""
        if search is None:
            search = best_saved(exp) or DEFAULT
        if isinstance(search, str):
            return saved_search(exp, search)
        if open_numbers(search):
            problem = f"{', '.join(open_numbers(search))} hold lists, which stage 5 (decode) chooses from"
            raise UserError(f"search {search.name}: {problem}; name the search with --search, or give numbers")
        return search, {}

    def choose(self, lang: str, to: str | None) -> tuple[Reader | None, Reader | None]:
        """The reader that recognizes a language and the one that translates it into `to`; None for one that is missing or not requested.

        Raises UserError if no head reads the language, none translates it into `to`, or no expert of the encoder is for it.
        """
        experts = self.system.encoder.experts
        if experts is not None and (problem := experts.problem([lang])):
            raise UserError(problem)
        recognizes = recognizer(self.trained, self.heads, lang)
        translates = translator(self.trained, self.heads, lang, to) if to not in (None, lang) else None
        if to not in (None, lang) and translates is None:
            raise no_translator_error(self.trained, self.heads, lang, to)
        if recognizes is None and translates is None:
            raise no_recognizer_error(self.trained, self.heads, lang)
        for reader in (recognizes, translates):
            if reader is not None and reader not in self.setups:
                problem = f"the search {self.search.name} has no numbers for objectives.{reader.name}"
                raise UserError(f"{problem}; let stage 5 (decode) decode a set in its language too, or give another --search")
            if reader is not None and self.cut == "windows" and marking_head(self.trained, reader) is None:
                problem = f"objectives.{reader.name} has no CTC objective beside it"
                raise UserError(f"windows are joined by the times of their words, and {problem}; pip install silero-vad and cut at pauses")
        return recognizes, translates

    def language(self, to: str | None = None) -> str | None:
        """The language to use if none is given.

        It is the only language of the run, `und` if a head reads every language, or None if langid predicts it for each recording. Raises
        UserError if the run has several languages and no langid, or experts that it needs the language for.
        """
        if routed := self.trained.model.router_languages():
            raise UserError(f"which language? give --lang; the experts of this system are chosen by the language too: {', '.join(routed)}")
        if self._langid is not None:
            return None
        if recognizer(self.trained, self.heads, UNDETERMINED) or to and translator(self.trained, self.heads, UNDETERMINED, to):
            return UNDETERMINED
        languages = spoken_languages(self.trained, self.heads)
        if len(languages) > 1:
            raise UserError(f"which language? give --lang, one of {', '.join(languages)}; this system has no objective langid that tells")
        return languages[0]

    def __call__(
        self, path: str | Path, lang: str | None = None, to: str | None = None, progress: Callable[[float], None] | None = None
    ) -> Transcript:
        """Transcribe a recording in a language, or in the one that langid predicts for its first minutes.

        `to`: the language to translate it into. `progress` is called with the number of further seconds that have been read. Raises
        UserError if the recording cannot be read, or if no head reads its language.
        """
        lang = self.language(to) if lang is None else lang
        if lang is not None:
            self.choose(lang, to)
        recording = Recording(path)
        results: list[SpanResult] = []
        for group in self._groups(self._pieces(recording, progress or (lambda seconds: None))):
            batches = list(self._batches(group))
            encoded = [(batch, encode(self.system, [heard.feats for heard in batch], [lang or ""] * len(batch))) for batch in batches]
            lang = self._spoken([states for _, states in encoded]) if lang is None else lang
            recognizes, translates = self.choose(lang, to)
            for batch, states in encoded:
                spans = [heard.span for heard in batch]
                texts = self._read(recognizes, states, spans)
                translations = self._read(translates, states, spans) if translates else [None] * len(batch)
                results += map(SpanResult, spans, texts, translations)
        segments = to_segments(results, windows=self.cut == "windows")
        return Transcript(
            path=str(path),
            seconds=recording.seconds,
            lang=lang or UNDETERMINED,
            to=None if to == lang else to,
            segments=segments,
            channels=1 if self.mix else recording.channels,
            notes=self._notes(recording, segments, lang, to),
            complete=recording.truncation is None,
        )

    def _pieces(self, recording: Recording, progress: Callable[[float], None]) -> Iterator[SpanFeatures]:
        """The pieces of a recording with their features; each gives at least one encoder state."""
        rate, heard = self.fbank.sample_rate, 0.0
        cutters: list[PauseCutter | WindowCutter] = []
        for block in recording.blocks(rate, self.mix):  # (C, N)
            cutters = cutters or [self._cutter(channel) for channel in range(len(block))]
            for channel, (cutter, wave) in enumerate(zip(cutters, block, strict=True), 1):
                yield from self._heard(channel, cutter(wave))
            progress(block.shape[1] / rate)
            heard += block.shape[1] / rate
        for channel, cutter in enumerate(cutters, 1):
            yield from self._heard(channel, cutter.rest())
        progress(max(0.0, recording.seconds - heard))

    def _cutter(self, channel: int) -> PauseCutter | WindowCutter:
        if self.cut == "windows":
            return WindowCutter(self.fbank.sample_rate, self.longest, min(SHARED, self.longest / 4))
        while len(self._detectors) <= channel:
            self._detectors.append(SpeechDetector())
        return PauseCutter(self.fbank.sample_rate, self.pause, self.longest, self._detectors[channel])

    def _heard(self, channel: int, pieces: Iterator[Piece]) -> Iterator[SpanFeatures]:
        for piece in pieces:
            feats = self._fbank(piece.wave)  # (T, F)
            if len(feats) >= Subsampling.span:
                yield SpanFeatures(Span(channel, piece.start, piece.start + len(piece.wave) / self.fbank.sample_rate), feats)

    def _groups(self, pieces: Iterator[SpanFeatures]) -> Iterator[list[SpanFeatures]]:
        """Groups of pieces: large enough for batches of similar lengths, small enough for any memory."""
        group: list[SpanFeatures] = []
        for piece in pieces:
            group.append(piece)
            if sum(piece.span.seconds for piece in group) >= 2 * self.search.batch_seconds:
                yield group
                group = []
        if group:
            yield group

    def _batches(self, group: list[SpanFeatures]) -> Iterator[list[SpanFeatures]]:
        frames = np.array([len(piece.feats) for piece in group])
        for indices in sorted_batches(frames, self.search.batch_seconds * 1000 / self.fbank.frame_shift):
            yield [group[index] for index in indices]

    def _spoken(self, encoded: list[Encoded]) -> str:
        """The language that langid predicts for these pieces, weighted by their lengths."""
        with torch.inference_mode():
            scores = sum((self._langid.logits(batch).log_softmax(-1) * batch.lengths[:, None]).sum(0) for batch in encoded)  # (L,)
        return self._langid.languages[int(scores.argmax())]

    def _read(self, reader: Reader | None, encoded: Encoded, spans: list[Span]) -> list[TimedText]:
        """The texts that a head writes for the pieces of a batch, with the times of their words in the recording."""
        if reader is None:
            return [TimedText("", []) for _ in spans]
        tokenizer, marking = self.tokenizers[reader.tokens], marking_head(self.trained, reader)
        with torch.inference_mode():
            hypotheses = search(self.system, reader, encoded, *self.setups[reader])
            for hypothesis, span in zip(hypotheses, spans, strict=True):
                warn_if_not_finite(hypothesis, f"{span.start:.1f} s to {span.end:.1f} s")
            texts = [hypothesis.tokens for hypothesis in hypotheses]
            if marking is None:
                return [TimedText(tokenizer.decode(text), None) for text in texts]
            head = self.system.objectives[marking]
            alignments = ctc_align(*head.log_probs(encoded), texts)
        results = []
        for span, text, alignment in zip(spans, texts, alignments, strict=True):
            words = None
            if alignment is not None:
                tokens = token_marks(alignment, tokenizer, StateTimes.of(self.fbank, head.upsampling), span.seconds)
                words = [word.shifted(span.start) for word in word_marks(tokens)]
            results.append(TimedText(tokenizer.decode(text), words))
        return results

    def _notes(self, recording: Recording, segments: list[Segment], lang: str | None, to: str | None) -> list[str]:
        notes = []
        if recording.truncation:
            notes.append(f"truncated: {recording.truncation}; transcribed as far as it goes")
        if recording.rate < self.fbank.sample_rate:
            notes.append(f"{recording.rate} Hz, the system learned from {self.fbank.sample_rate} Hz: expect more errors")
        if not segments:
            notes.append("no speech was found")
        elif all(not segment.words for segment in segments):
            notes.append("times are those of segments: there is no CTC objective that tells when words are said")
        routed = self.trained.model.router_languages()
        if routed and lang not in routed:
            notes.append(f"{lang} is none of the languages that its experts are chosen by, {', '.join(routed)}: expect more errors")
        if to is not None and to == lang:
            notes.append(f"its language is {lang}: not translated")
        return notes
