"""Find the times of the words of known texts: CTC alignment of data directories and of recordings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from m2asr.config import FbankConfig
from m2asr.data.batching import sorted_batches
from m2asr.data.directory import read_table
from m2asr.data.feats import AudioFeats, StoredFeats
from m2asr.data.index import UtteranceIndex
from m2asr.data.recording import Recording
from m2asr.decode.ctc_align import ctc_align, states_needed
from m2asr.decode.encode import encode
from m2asr.decode.heads import no_recognizer_error, recognizer
from m2asr.decode.marks import Mark, StateTimes, token_marks, word_marks
from m2asr.decode.search import Reader, readers
from m2asr.errors import UserError
from m2asr.features.fbank import Fbank
from m2asr.out_of_memory import explained
from m2asr.text.normalize import normalize
from m2asr.text.tokenizer import UNK
from m2asr.train.initialize import load_trained, trained_fbank


@dataclass(frozen=True)
class Aligned:
    """The time marks of an utterance, or the reason why it has none (`problem`; then marks and score are empty).

    `score` is the mean log-probability of a state on the best path. The lower it is, the worse the text fits the audio.
    """

    utt: str
    text: str
    seconds: float
    tokens: Sequence[Mark] = ()
    words: Sequence[Mark] = ()
    score: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class AlignmentInput:
    """An utterance to align: its features (T, F), its text, its language and its length in seconds."""

    utt: str
    feats: np.ndarray
    text: str
    lang: str
    seconds: float


class Aligner:
    """Aligns texts with the CTC heads of a trained run; the language of an utterance selects the head.

    Raises UserError if the run has no CTC objective that recognizes speech.
    """

    def __init__(self, exp: str | Path, device: str = "cpu") -> None:
        self.exp = Path(exp)
        self.config, self.system, self.tokenizers = load_trained(self.exp, device)
        self.heads = {name: reader for name, reader in readers(self.config, "greedy").items() if reader.ctc and reader.text == "text"}
        if not self.heads:
            raise UserError(f"{exp}: no objective of type ctc reads `text`; an alignment needs one, also beside a transducer")

    def head(self, lang: str) -> Reader:
        """The head for a language. Raises UserError if there is none, or no expert of the encoder is for the language."""
        experts = self.system.encoder.experts
        if experts is not None and (problem := experts.problem([lang])):
            raise UserError(problem)
        reader = recognizer(self.config, self.heads, lang)
        if reader is None:
            raise no_recognizer_error(self.config, self.heads, lang)
        return reader

    def align(self, batch: Sequence[AlignmentInput], fbank: FbankConfig) -> list[Aligned]:
        """The time marks of utterances that are encoded together; `fbank` is the config of their features."""
        results: list[Aligned | None] = [None] * len(batch)
        rows_by_head: dict[Reader, list[int]] = {}
        for row, utterance in enumerate(batch):
            try:
                rows_by_head.setdefault(self.head(utterance.lang), []).append(row)
            except UserError as error:
                results[row] = Aligned(utterance.utt, utterance.text, utterance.seconds, problem=str(error))
        readable = [row for rows in rows_by_head.values() for row in rows]
        if readable:
            encoded = encode(self.system, [batch[row].feats for row in readable], [batch[row].lang for row in readable])
        for reader, rows in rows_by_head.items():
            head = self.system.objectives[reader.ctc]
            with torch.inference_mode():
                encoded_rows = [readable.index(row) for row in rows]
                log_probs, lengths = (value[encoded_rows] for value in head.log_probs(encoded))  # (B', R T', V), (B',)
            tokenizer = self.tokenizers[reader.tokens]
            texts = [tokenizer.encode(batch[row].text) for row in rows]
            problems = [_problem(text, labels, tokenizer.decode(text)) for text, labels in zip(texts, lengths.tolist(), strict=True)]
            usable = [text if not problem else [] for text, problem in zip(texts, problems, strict=True)]
            for row, problem, alignment in zip(rows, problems, ctc_align(log_probs, lengths, usable), strict=True):
                utterance = batch[row]
                if problem or alignment is None:
                    problem = problem or "its alignment would need more than 2 GB of memory; cut it into shorter utterances"
                    results[row] = Aligned(utterance.utt, utterance.text, utterance.seconds, problem=problem)
                    continue
                tokens = token_marks(alignment, tokenizer, StateTimes.of(fbank, head.upsampling), utterance.seconds)
                results[row] = Aligned(utterance.utt, utterance.text, utterance.seconds, tokens, word_marks(tokens), alignment.score)
        return results  # type: ignore[return-value]

    def recording(self, path: str | Path, text: str, lang: str) -> Aligned:
        """The time marks of one recording of any sample rate and number of channels; its text is normalized first.

        Raises UserError if the recording cannot be read or no head reads the language.
        """
        self.head(lang)
        fbank = trained_fbank(self.exp)
        recording = Recording(path)
        with explained(lambda: f"{path} of {recording.seconds:.0f} s", "cut it, and its text, into shorter recordings"):
            wave = np.concatenate([block[0] for block in recording.blocks(fbank.sample_rate)])  # (N,)
            feats = Fbank(**fbank.geometry())(wave)  # (T, F)
            if not len(feats):
                raise UserError(f"{path}: {len(wave)} samples are less than one window of {fbank.frame_length:g} ms")
            utterance = AlignmentInput(recording.path.stem, feats, normalize(text, lang), lang, len(wave) / fbank.sample_rate)
            return self.align([utterance], fbank)[0]

    def align_set(
        self, utterances: UtteranceIndex, feats: StoredFeats | AudioFeats, fbank: FbankConfig, batch_seconds: float = 120.0
    ) -> Iterator[Aligned]:
        """The time marks of every utterance of a set, the longest first; `fbank` is the config of its features."""
        if not utterances.has_text():
            raise UserError(f"{utterances.data_dir / 'text'}: no such file, there is nothing to align")
        durations = read_table(utterances.data_dir / "utt2dur") if (utterances.data_dir / "utt2dur").is_file() else {}
        for indices in sorted_batches(feats.frames(utterances.frames, 1.0), batch_seconds * 1000 / fbank.frame_shift):
            batch = []
            for index in map(int, indices):
                utt, text = utterances.utt_ids(index), utterances.text(index)
                try:
                    utt_feats = feats(utterances, index, np.random.default_rng(0))  # (T, F)
                except UserError as error:
                    yield Aligned(utt, text or "", 0.0, problem=str(error))
                    continue
                # seconds of the frames: without the last samples, which fill no frame
                framed = ((len(utt_feats) - 1) * fbank.frame_shift + fbank.frame_length) / 1000
                seconds = max(framed, float(durations.get(utt, 0)))
                if text is None:
                    yield Aligned(utt, "", seconds, problem="no line in `text`")
                else:
                    batch.append(AlignmentInput(utt, utt_feats, text, utterances.lang(index), seconds))
            if batch:
                longest = max(batch, key=lambda item: item.seconds)
                what = f"{len(batch)} utterances, the longest {longest.utt} of {longest.seconds:.1f} s"
                with explained(lambda what=what: what, "lower --batch_seconds"):
                    aligned = list(self.align(batch, fbank))
                yield from aligned


def _problem(tokens: Sequence[int], labels: int, written: str) -> str:
    """The reason why a text cannot be aligned; an empty string if it can."""
    if not tokens:
        return "empty text"
    if UNK in tokens:
        return f"letters that the tokenizer does not know, shown as ⁇: {written}"
    if (needed := states_needed(tokens)) > labels:
        return f"text too long: {len(tokens)} tokens need {needed} labels, the recording has {labels}"
    return ""
