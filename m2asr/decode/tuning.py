"""Numbers of a search chosen on the dev sets: every combination of the lists that a decode config gives is tried."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from m2asr.config import DecodeConfig
from m2asr.data.directory import read_table
from m2asr.decode.recognize import Reading, Task, recognize
from m2asr.decode.search import Reader
from m2asr.decode.text_models import TextModels
from m2asr.decode.trained import Trained
from m2asr.errors import UserError
from m2asr.files import open_atomic
from m2asr.score.error_rate import character_errors, word_errors
from m2asr.score.translation import translation
from m2asr.text.normalize import UNSPACED, normalize

TUNABLE = ("lm.weight", "bonus", "hotwords.bonus", "ctc_weight", "length_penalty")
Error = tuple[float, ...]  # what is made small, the most important number first


def lists(search: DecodeConfig) -> dict[str, list[float]]:
    """The numbers that a search leaves open, by their keys."""
    values = {key: _get(search, key) for key in TUNABLE}
    return {key: value for key, value in values.items() if isinstance(value, list)}


def combinations(search: DecodeConfig) -> list[DecodeConfig]:
    """The search with every combination of its open numbers, in the order of their lists."""
    choices = lists(search)
    return [_with(search, dict(zip(choices, values, strict=True))) for values in itertools.product(*choices.values())]


def tune(trained: Trained, search: DecodeConfig, reader: Reader, models: TextModels) -> DecodeConfig:
    """The best combination for a reader on the dev sets of its stream; all that was tried goes to decode_<name>/tuning.<reader>.tsv.

    The encoder runs once. Best is the lowest word error rate, character error rate where spaces are not written, the highest chrF for
    translations. Raises UserError where the stream has no dev set with references.
    """
    tried = combinations(search)
    readings = [Reading(settings, models.fusion(settings, reader.tokens)) for settings in tried]
    dev = _recognize_dev(trained, reader, readings, search.batch_seconds)
    if not any(dev.references):
        what = f"{', '.join(lists(search))} are to be chosen on dev sets, but streams.{reader.stream} has none with {reader.text}"
        raise UserError(f"search {search.name}: {what}; give numbers instead of lists")
    errors = [dev_error(dev.references, texts, dev.langs, reader.text == "text") for texts in dev.hypotheses]
    best = tried[min(range(len(tried)), key=errors.__getitem__)]
    path = trained.exp / f"decode_{search.name}" / f"tuning.{reader.name}.tsv"
    _write_tried(path, search, zip(tried, errors, strict=True), reader.text == "text")
    told = ", ".join(f"{key} {_get(best, key):g}" for key in lists(search))
    print(f"{path}: best of {len(tried)} on {len(dev.references)} dev utterances: {told}")
    return best


def dev_error(references: Sequence[str], hypotheses: Sequence[str], langs: Sequence[str], recognition: bool) -> Error:
    """What tuning makes small: word, then character error rate, the other way round where no language writes spaces; 100 - chrF."""
    if not recognition:
        return (100.0 - translation("chrf", references, hypotheses, langs[0]).score,)
    pairs = list(map(normalize, references, langs)), list(map(normalize, hypotheses, langs))
    rates = word_errors(*pairs).rate, character_errors(*pairs).rate
    return rates[::-1] if set(langs) <= UNSPACED else rates


@dataclass
class DevTexts:
    """References of all dev sets of a reader, and the hypotheses of every reading for them."""

    hypotheses: list[list[str]]
    references: list[str] = field(default_factory=list)
    langs: list[str] = field(default_factory=list)


def _recognize_dev(trained: Trained, reader: Reader, readings: Sequence[Reading], seconds: float) -> DevTexts:
    dev = DevTexts([[] for _ in readings])
    for name in trained.config.streams[reader.stream].dev:
        path = trained.data / name / reader.text
        if not path.is_file():
            continue
        index, references = trained.open(name), read_table(path)
        utt2lang = read_table(trained.data / name / "utt2lang") if reader.text == "text" else {}
        routes = dict.fromkeys(index.languages, reader)
        tasks = {number: Task(routes, {reader: reading}) for number, reading in enumerate(readings)}
        results = recognize(trained.system, tasks, trained.batches(name, [reader], seconds), trained.tokenizers)
        dev.references += references.values()
        dev.langs += [utt2lang.get(utt, reader.text.removeprefix("text.")) for utt in references]
        for number, texts in enumerate(dev.hypotheses):
            texts += [results[number].texts.get(utt, "") for utt in references]
    return dev


def _write_tried(path: Path, search: DecodeConfig, tried: zip[tuple[DecodeConfig, Error]], recognition: bool) -> None:
    """A table with tabs, the best combination first."""
    with open_atomic(path) as file:
        print(*lists(search), *(("error", "other_error") if recognition else ("100-chrf",)), sep="\t", file=file)
        for settings, error in sorted(tried, key=lambda pair: pair[1]):
            print(*(_get(settings, key) for key in lists(search)), *(f"{number:.4f}" for number in error), sep="\t", file=file)


def _get(search: DecodeConfig, key: str) -> Any:
    value: Any = search
    for name in key.split("."):
        value = getattr(value, name) if value is not None else None
    return value


def _with(search: DecodeConfig, values: Mapping[str, float]) -> DecodeConfig:
    data = search.model_dump()
    for key, value in values.items():
        *parents, last = key.split(".")
        section = data
        for name in parents:
            section = section[name]
        section[last] = value
    return DecodeConfig.model_validate(data)
