"""Tune the numbers of a search on the dev sets: try every combination of the lists in a decode config."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from m2asr.config import DecodeConfig
from m2asr.data.directory import read_table
from m2asr.decode.recognize import SearchSetup, Task
from m2asr.decode.recognize_set import recognize_set
from m2asr.decode.search import Reader
from m2asr.decode.text_models import TextModels
from m2asr.decode.trained import Trained
from m2asr.errors import UserError
from m2asr.files import open_atomic
from m2asr.score.error_rate import character_errors, mixed_errors
from m2asr.score.translation import translation_scores
from m2asr.text.normalize import normalize

TUNABLE = ("lm.weight", "bonus", "hotwords.bonus", "ctc_weight", "length_penalty")
Error = tuple[float, ...]  # errors to minimize, the most important first


def open_numbers(search: DecodeConfig) -> dict[str, list[float]]:
    """The lists of numbers in a search, by their keys; tuning chooses from them."""
    values = {key: _get(search, key) for key in TUNABLE}
    return {key: value for key, value in values.items() if isinstance(value, list)}


def combinations(search: DecodeConfig) -> list[DecodeConfig]:
    """The search with every combination of its open numbers, in the order of the lists."""
    choices = open_numbers(search)
    return [_with(search, dict(zip(choices, values, strict=True))) for values in itertools.product(*choices.values())]


def tune(trained: Trained, search: DecodeConfig, reader: Reader, models: TextModels) -> DecodeConfig:
    """The best combination for a reader on the dev sets of its stream; writes all results to decode_<name>/tuning.<reader>.tsv.

    The encoder runs once. The best combination has the lowest word error rate (character error rate in languages without spaces), or for
    translations the highest chrF. Raises UserError if the stream has no dev set with references.
    """
    candidates = combinations(search)
    path = trained.exp / f"decode_{search.name}" / f"tuning.{reader.name}.tsv"
    print(f"{path}: {len(candidates)} combinations of {', '.join(open_numbers(search))} are tried")
    setups = [SearchSetup(settings, models.fusion(settings, reader.tokens)) for settings in candidates]
    dev = _recognize_dev(trained, reader, setups, search.batch_seconds)
    if not any(dev.references):
        problem = f"{', '.join(open_numbers(search))} are to be chosen on dev sets, but streams.{reader.stream} has none with {reader.text}"
        raise UserError(f"search {search.name}: {problem}; give numbers instead of lists")
    errors = [dev_error(dev.references, texts, dev.langs, reader.text == "text") for texts in dev.hypotheses]
    best = candidates[min(range(len(candidates)), key=errors.__getitem__)]
    _write_table(path, search, zip(candidates, errors, strict=True), reader.text == "text")
    numbers = ", ".join(f"{key} {_get(best, key):g}" for key in open_numbers(search))
    print(f"{path}: best of {len(candidates)} on {len(dev.references)} dev utterances: {numbers}")
    return best


def dev_error(references: Sequence[str], hypotheses: Sequence[str], langs: Sequence[str], recognition: bool) -> Error:
    """The errors to minimize: word, or in scripts without spaces character, errors, then errors of all characters; or 100 - chrF."""
    if not recognition:
        return (100.0 - translation_scores("chrf", references, hypotheses, langs[0]).score,)
    pairs = list(map(normalize, references, langs)), list(map(normalize, hypotheses, langs))
    return mixed_errors(*pairs).rate, character_errors(*pairs).rate


@dataclass
class DevTexts:
    """References of all dev sets of a reader, and the hypotheses of every search setup for them."""

    hypotheses: list[list[str]]
    references: list[str] = field(default_factory=list)
    langs: list[str] = field(default_factory=list)


def _recognize_dev(trained: Trained, reader: Reader, setups: Sequence[SearchSetup], seconds: float) -> DevTexts:
    dev = DevTexts([[] for _ in setups])
    for name in trained.config.streams[reader.stream].dev:
        path = trained.data / name / reader.text
        if not path.is_file():
            continue
        index, references = trained.open(name), read_table(path)
        utt2lang = read_table(trained.data / name / "utt2lang") if reader.text == "text" else {}
        routes = dict.fromkeys(index.languages, reader)
        tasks = {index: Task(routes, {reader: setup}) for index, setup in enumerate(setups)}
        results = recognize_set(trained, name, tasks, seconds, f"tune {reader.name} on")
        dev.references += references.values()
        dev.langs += [utt2lang.get(utt, reader.text.removeprefix("text.")) for utt in references]
        for index, texts in enumerate(dev.hypotheses):
            texts += [results[index].texts.get(utt, "") for utt in references]
    return dev


def _write_table(path: Path, search: DecodeConfig, results: zip[tuple[DecodeConfig, Error]], recognition: bool) -> None:
    """Write a table with tabs, the best combination first."""
    with open_atomic(path) as file:
        print(*open_numbers(search), *(("error", "other_error") if recognition else ("100-chrf",)), sep="\t", file=file)
        for settings, error in sorted(results, key=lambda pair: pair[1]):
            print(*(_get(settings, key) for key in open_numbers(search)), *(f"{value:.4f}" for value in error), sep="\t", file=file)


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
