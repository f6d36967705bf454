"""Decode sets with a trained system and one or more searches: tune open numbers on the dev sets, recognize, write the hypotheses."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from m2asr.config import DecodeConfig
from m2asr.data.directory import write_table
from m2asr.data.index import UtteranceIndex
from m2asr.decode.recognize import Recognized, SearchSetup, Task
from m2asr.decode.recognize_set import recognize_set
from m2asr.decode.routes import Route, language_id, routes, unread_problem
from m2asr.decode.search import Reader, readers
from m2asr.decode.search_setup import text_models, tuned_setups
from m2asr.decode.text_models import TextModels, check_names
from m2asr.decode.trained import Trained
from m2asr.errors import UserError
from m2asr.files import open_atomic
from m2asr.objectives.langid import LanguageId
from m2asr.train_checks import WRITING


@dataclass(frozen=True)
class Plan:
    """One search over all sets: its readers for every set and target, and its text models."""

    search: DecodeConfig
    routes: Mapping[str, Mapping[str, Route]]  # set -> target -> route
    readers: Sequence[Reader]
    models: TextModels
    langid: LanguageId | None  # predicts the language of utterances, if the search is to use that

    def tasks(self, name: str, setups: Mapping[Reader, SearchSetup]) -> dict[str, Task]:
        """The tasks of a set, by target."""
        return {target: Task(route.readers, setups, self.langid is not None) for target, route in self.routes[name].items()}


def decode(trained: Trained, searches: Sequence[DecodeConfig], sets: Sequence[str]) -> None:
    """Write decode_<name>/<set>/<target>/{text,info.json} for every search; the encoder runs once for all of them.

    Raises UserError if nothing can be decoded, or if two searches have the same name.
    """
    check_names(searches)
    indexes = {name: trained.open(name) for name in sets}
    plans = [_plan(trained, search, indexes) for search in searches]  # errors of any search are raised before the work begins
    setups = [tuned_setups(trained, plan.search, plan.readers, plan.models) for plan in plans]
    langid = next((plan.langid for plan in plans if plan.langid), None)
    for name in indexes:
        tasks_by_plan = [plan.tasks(name, plan_setups) for plan, plan_setups in zip(plans, setups, strict=True)]
        tasks = {(number, target): task for number, by_target in enumerate(tasks_by_plan) for target, task in by_target.items()}
        if not tasks:
            continue
        seconds = min(search.batch_seconds for search in searches)
        for (number, target), result in recognize_set(trained, name, tasks, seconds, "decode", langid).items():
            _write(trained.exp, plans[number], setups[number], name, target, result)


def _plan(trained: Trained, search: DecodeConfig, indexes: Mapping[str, UtteranceIndex]) -> Plan:
    heads = readers(trained.config, search.method)
    if not heads:
        raise UserError(f"nothing decoded: {trained.exp} has no objective of type {', '.join(WRITING)}, or all have `decode: false`")
    langid = language_id(trained.config, trained.system) if search.language == "predicted" else None
    languages = {name: index.languages for name, index in indexes.items()}
    chosen = {name: routes(trained.config, heads, spoken, langid) for name, spoken in languages.items()}
    problem = "" if langid else unread_problem(trained.config, heads, languages, chosen)
    if not any(chosen.values()):
        raise UserError(f"nothing decoded: {problem}")
    if problem:
        print(f"warning: {problem}", file=sys.stderr)
    used = dict.fromkeys(reader for by_target in chosen.values() for route in by_target.values() for reader in route.readers.values())
    device = next(trained.system.parameters()).device
    models = text_models(search, trained.exp, trained.config, trained.tokenizers, used, device)
    return Plan(search, chosen, list(used), models, langid)


def _write(exp: Path, plan: Plan, setups: Mapping[Reader, SearchSetup], name: str, target: str, result: Recognized) -> None:
    """Write the hypotheses of a target on a set with their info.json, and print a summary."""
    route, out = plan.routes[name][target], exp / f"decode_{plan.search.name}" / name / target
    write_table(out / "text", result.texts)
    settings = {lang: setups[reader].settings.model_dump() for lang, reader in route.readers.items()}
    same = len({json.dumps(values, sort_keys=True) for values in settings.values()}) == 1
    info = {
        "objective": target,
        "set": name,
        **route.task,
        "train_sets": route.train_sets,
        "unrepresentable": result.unrepresentable / result.with_reference if result.with_reference else None,
        "seconds": result.seconds,
        "audio_seconds": result.audio_seconds,
        "language": route.language,
        "search": next(iter(settings.values())) if same else {**plan.search.model_dump(), "by_language": settings},
    }
    summary = f"{len(result.texts)} utterances, {result.seconds / max(result.audio_seconds, 1e-9):.4f} x real time"
    if plan.langid:
        write_table(out / "utt2lang", result.langs)
    if result.lang_checked:
        info["language_error"] = result.lang_wrong / result.lang_checked
        summary += f"; language wrong for {result.lang_wrong} ({info['language_error']:.1%})"
    summary += f"; {result.without_head} without a head for their language" if result.without_head else ""
    with open_atomic(out / "info.json") as file:
        json.dump(info, file, indent=1)
    print(f"{out}/text: {summary}")
