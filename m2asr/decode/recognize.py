"""Run a trained system over a set: batches in, one hypothesis per utterance and target out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from m2asr.config import DecodeConfig
from m2asr.data.batch import Batch, target_key
from m2asr.decode.encode import WHOLE, encode_batch
from m2asr.decode.fusion import Fusion
from m2asr.decode.hypothesis import warn_if_not_finite
from m2asr.decode.search import Reader, search
from m2asr.models.encoded import Encoded
from m2asr.objectives.langid import LanguageId
from m2asr.objectives.system import System
from m2asr.out_of_memory import describe, explained
from m2asr.text.tokenizer import Tokenizer

Routes = Mapping[str, Reader]  # language -> the reader of its utterances
Key = TypeVar("Key")


@dataclass
class Recognized:
    """The hypotheses for one target on one set, with counts of the search."""

    texts: dict[str, str] = field(default_factory=dict)  # utterance -> hypothesis
    seconds: float = 0.0
    audio_seconds: float = 0.0
    with_reference: int = 0  # utterances with a reference for this target
    unrepresentable: int = 0  # references that need more states than the encoder gives, so that CTC or a transducer cannot write them
    without_head: int = 0  # utterances in a language that no head reads for this target: their hypothesis is empty
    langs: dict[str, str] = field(default_factory=dict)  # utterance -> language that langid predicts, if it is used
    lang_checked: int = 0  # utterances in one of the languages of langid
    lang_wrong: int = 0  # ... for which langid predicts another one

    @classmethod
    def joined(cls, parts: Sequence[Recognized]) -> Recognized:
        """The results of all parts of a set; `seconds` are those of all processes together."""
        whole = cls()
        for part, item in itertools.product(parts, fields(cls)):
            mine, other = getattr(whole, item.name), getattr(part, item.name)
            setattr(whole, item.name, mine | other if isinstance(mine, dict) else mine + other)
        return whole


class SearchSetup(NamedTuple):
    """The settings of a reader's search, without lists, and its text models."""

    settings: DecodeConfig
    fusion: Fusion


@dataclass(frozen=True)
class Task:
    """A target to recognize for every utterance of a set: the reader of each language, and the search of each reader."""

    routes: Routes
    setups: Mapping[Reader, SearchSetup]
    predicted: bool = False  # whether langid chooses the language; else it is that of the data


def recognize(
    system: System,
    tasks: Mapping[Key, Task],
    batches: Iterable[Batch],
    tokenizers: Mapping[str, Tokenizer],
    langid: LanguageId | None = None,
    report: Callable[[int], object] = lambda utterances: None,
) -> dict[Key, Recognized]:
    """Decode every batch for each task; the language of an utterance selects its reader.

    Each batch is encoded once, however many tasks there are, without masks, dropout or gradients. `report` gets the number of utterances
    of every batch that is done.
    """
    results = {key: Recognized() for key in tasks}
    system.eval()
    with torch.inference_mode():
        for batch in batches:
            with explained(lambda batch=batch: describe([batch]), "lower batch_seconds or beam of the decode config"):
                start = time.perf_counter()
                encoded = encode_batch(system, batch)
                predicted_langs = langid.predict(encoded) if langid else batch.lang
                encode_seconds = time.perf_counter() - start
                for key, task in tasks.items():
                    result, start = results[key], time.perf_counter()
                    spoken = predicted_langs if task.predicted else batch.lang
                    row_readers = [task.routes.get(lang) for lang in spoken]
                    for reader in dict.fromkeys(row_readers):
                        rows = [row for row, row_reader in enumerate(row_readers) if row_reader == reader]
                        result.texts |= _read(system, reader, _rows(encoded, rows), [batch.utt_ids[row] for row in rows], tokenizers, task)
                    result.without_head += row_readers.count(None)
                    result.seconds += time.perf_counter() - start + encode_seconds
                    result.audio_seconds += batch.seconds
                    if task.predicted:
                        _judge(result, batch, spoken, langid)
                    _count(result, batch, task.routes, system)
            report(len(batch.utt_ids))
    return results


def _read(
    system: System, reader: Reader | None, encoded: Encoded, utt_ids: list[str], tokenizers: Mapping[str, Tokenizer], task: Task
) -> dict[str, str]:
    """The text of every utterance; empty where no head reads its language."""
    if reader is None:
        return dict.fromkeys(utt_ids, "")
    hypotheses = dict(zip(utt_ids, search(system, reader, encoded, *task.setups[reader]), strict=True))
    for utt_id, hypothesis in hypotheses.items():
        warn_if_not_finite(hypothesis, utt_id)
    return {utt_id: tokenizers[reader.tokens].decode(hypothesis.tokens) for utt_id, hypothesis in hypotheses.items()}


def _rows(encoded: Encoded, rows: list[int]) -> Encoded:
    """The states of some utterances of a batch; the batch itself if these are all."""
    if len(rows) == len(encoded.lengths):
        return encoded
    return replace(encoded, states={tap: states[rows] for tap, states in encoded.states.items()}, lengths=encoded.lengths[rows])


def _judge(result: Recognized, batch: Batch, spoken: list[str], langid: LanguageId) -> None:
    result.langs.update(zip(batch.utt_ids, spoken, strict=True))
    pairs = [pair for pair in zip(spoken, batch.lang, strict=True) if pair[1] in langid.languages]
    result.lang_checked += len(pairs)
    result.lang_wrong += sum(predicted != lang for predicted, lang in pairs)


def _count(result: Recognized, batch: Batch, routes: Routes, system: System) -> None:
    """Count the references of a task, and those that the CTC head or the transducer of their language cannot write."""
    for lang in sorted(set(batch.lang)):
        reader = routes.get(lang)
        if reader is None or reader.attention is not None and reader.ctc is None:
            continue
        target, states = target_key(reader.tokens, reader.text), batch.drawn[WHOLE].states
        spoken = np.array([utt_lang == lang for utt_lang in batch.lang])  # (B,)
        present = spoken & (batch.target_lengths[target].numpy() >= 0)
        written = system.objectives[reader.transducer or reader.ctc].representable(batch, states)
        result.with_reference += int(present.sum())
        result.unrepresentable += int((present & ~written).sum())
