"""Run a trained system over a set: batches in, one hypothesis per utterance and target out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from m2asr.config import DecodeConfig
from m2asr.data.batch import Batch, target_key
from m2asr.decode.encode import WHOLE, encode_batch
from m2asr.decode.fusion import Fusion
from m2asr.decode.search import Reader, search
from m2asr.models.encoded import Encoded
from m2asr.objectives.ctc import representable
from m2asr.objectives.langid import LanguageId
from m2asr.objectives.system import System
from m2asr.text.tokenizer import Tokenizer

Routes = Mapping[str, Reader]  # language -> what reads an utterance in it
Key = TypeVar("Key")


@dataclass
class Recognized:
    """The hypotheses for one target on one set, and what search met on the way."""

    texts: dict[str, str] = field(default_factory=dict)  # utterance -> hypothesis
    seconds: float = 0.0
    audio_seconds: float = 0.0
    paired: int = 0  # utterances with a reference for this target
    unrepresentable: int = 0  # references that need more states than the encoder gives, so that CTC cannot produce them
    unread: int = 0  # utterances taken for a language that no head reads for this target: their hypothesis is empty
    spoken: dict[str, str] = field(default_factory=dict)  # utterance -> the language it is taken for, where langid tells
    judged: int = 0  # utterances in a language that langid knows
    misjudged: int = 0  # ... that it takes for another


class Reading(NamedTuple):
    """How a reader searches: settings without lists, and what text models add."""

    settings: DecodeConfig
    fusion: Fusion


@dataclass(frozen=True)
class Task:
    """An answer wanted for every utterance of a set: the reader of each language, and how each reader searches."""

    routes: Routes
    readings: Mapping[Reader, Reading]
    predicted: bool = False  # whether the language is the one that langid tells, or the utterance's own


def recognize(
    system: System,
    tasks: Mapping[Key, Task],
    batches: Iterable[Batch],
    tokenizers: Mapping[str, Tokenizer],
    langid: LanguageId | None = None,
) -> dict[Key, Recognized]:
    """Decode every batch for each task, by the reader of each utterance's language.

    Each batch is encoded once, however many tasks there are, without masks, dropout or gradients.
    """
    results = {key: Recognized() for key in tasks}
    system.eval()
    with torch.inference_mode():
        for batch in batches:
            start = time.perf_counter()
            encoded = encode_batch(system, batch)
            told = langid.predict(encoded) if langid else batch.lang
            encode_seconds = time.perf_counter() - start
            for key, task in tasks.items():
                result, start = results[key], time.perf_counter()
                spoken = told if task.predicted else batch.lang
                chosen = [task.routes.get(lang) for lang in spoken]
                for reader in dict.fromkeys(chosen):
                    rows = [row for row, other in enumerate(chosen) if other == reader]
                    texts = _read(system, reader, _rows(encoded, rows), tokenizers, task)
                    result.texts.update(zip([batch.utt_ids[row] for row in rows], texts, strict=True))
                result.unread += chosen.count(None)
                result.seconds += time.perf_counter() - start + encode_seconds
                result.audio_seconds += batch.seconds
                if task.predicted:
                    _judge(result, batch, spoken, langid)
                _count(result, batch, task.routes)
    return results


def _read(system: System, reader: Reader | None, encoded: Encoded, tokenizers: Mapping[str, Tokenizer], task: Task) -> list[str]:
    if reader is None:
        return [""] * len(encoded.lengths)
    hypotheses = search(system, reader, encoded, *task.readings[reader])
    return [tokenizers[reader.tokens].decode(hypothesis.tokens) for hypothesis in hypotheses]


def _rows(encoded: Encoded, rows: list[int]) -> Encoded:
    """Some utterances of a batch, as they are where it is all of them."""
    if len(rows) == len(encoded.lengths):
        return encoded
    return replace(encoded, states={tap: states[rows] for tap, states in encoded.states.items()}, lengths=encoded.lengths[rows])


def _judge(one: Recognized, batch: Batch, spoken: list[str], langid: LanguageId) -> None:
    one.spoken.update(zip(batch.utt_ids, spoken, strict=True))
    pairs = [pair for pair in zip(spoken, batch.lang, strict=True) if pair[1] in langid.languages]
    one.judged += len(pairs)
    one.misjudged += sum(told != lang for told, lang in pairs)


def _count(one: Recognized, batch: Batch, routes: Routes) -> None:
    """References that the CTC reader of their own language cannot write."""
    for lang in sorted(set(batch.lang)):
        reader = routes.get(lang)
        if reader is None or reader.ctc is None:
            continue
        target = target_key(reader.tokens, reader.text)
        spoken = np.array([other == lang for other in batch.lang])  # (B,)
        present = spoken & (batch.target_lengths[target].numpy() >= 0)
        one.paired += int(present.sum())
        one.unrepresentable += int((present & ~representable(batch, target, batch.drawn[WHOLE].states)).sum())
