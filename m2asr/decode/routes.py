"""Choose the head that reads an utterance: one for all languages, or the one of its given or predicted language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from m2asr.decode.leads import langid_objective
from m2asr.decode.search import Reader
from m2asr.errors import UserError
from m2asr.objectives.langid import LanguageId
from m2asr.objectives.system import System
from m2asr.train_config import TrainConfig


@dataclass(frozen=True)
class Route:
    """The readers of one target by the language of the utterance, and the facts about it in results.json."""

    readers: dict[str, Reader]
    task: dict[str, str]  # task, lang, source, text
    language: str  # `oracle` if the true language chooses the reader, or experts in the encoder, else `predicted`
    train_sets: list[str]  # the training sets of its readers


def routes(
    config: TrainConfig, heads: Mapping[str, Reader], languages: Sequence[str], langid: LanguageId | None = None
) -> dict[str, Route]:
    """The routes of a set in these languages, by name; the set needs no references.

    A head of a stream without `lang` reads every utterance. Heads of streams with `lang` that write the same kind of text share a route,
    `asr_by_language` or `st_<lang>_by_language`: each reads the utterances in its language, as `langid` predicts it or as the data say.
    But if the set has one language, each head of this language has its own route, under its own name.
    """
    source, known = "+".join(sorted(languages)), "oracle" if config.model.router_languages() else "predicted"
    routes_by_name: dict[str, Route] = {}
    kinds: dict[str, dict[str, list[str]]] = {}  # text -> language -> its heads
    for name, reader in heads.items():
        lang = config.streams[reader.stream].lang
        if lang is None:
            spoken = [*languages, *(langid.languages if langid else [])]
            sets = config.streams[reader.stream].sets
            routes_by_name[name] = Route(dict.fromkeys(spoken, reader), _task(reader.text, source), known, sets)
        else:
            kinds.setdefault(reader.text, {}).setdefault(lang, []).append(name)
    led = len(languages) == 1 and any(source in by_language for by_language in kinds.values())
    for text, by_language in kinds.items():
        task = _task(text, source)
        first = {lang: names[0] for lang, names in by_language.items()}
        leads = {name: {**first, source: name} for name in by_language.get(source, [])} if led else {_shared_name(task): first}
        for key, chosen in leads.items():
            if langid is None:
                chosen = {lang: chosen[lang] for lang in languages if lang in chosen}
            if not chosen:
                continue
            sets = [config.streams[heads[name].stream].sets for name in ([key] if led else chosen.values())]
            routes_by_name[key] = Route(
                {lang: heads[name] for lang, name in chosen.items()},
                task,
                "predicted" if langid else "oracle",
                list(dict.fromkeys(chain.from_iterable(sets))),
            )
    return routes_by_name


def _task(text: str, source: str) -> dict[str, str]:
    task, lang = ("asr", source) if text == "text" else ("st", text.removeprefix("text."))
    return {"task": task, "lang": lang, "source": source, "text": text}


def _shared_name(task: Mapping[str, str]) -> str:
    return f"{'asr' if task['task'] == 'asr' else 'st_' + task['lang']}_by_language"


def unread_problem(
    config: TrainConfig,
    heads: Mapping[str, Reader],
    languages: Mapping[str, Sequence[str]],
    routes_by_set: Mapping[str, Mapping[str, Route]],
) -> str:
    """The message about languages that no head reads, with advice; an empty string if there are none.

    `languages` has the languages of every set, `routes_by_set` its routes.
    """
    unread = []
    for name, set_routes in routes_by_set.items():
        read = {lang for route in set_routes.values() for lang in route.readers}
        unread += [f"{lang} ({name})" for lang in languages[name] if lang not in read]
    if not unread:
        return ""
    languages_read = sorted({config.streams[reader.stream].lang for reader in heads.values()})
    if langid_objective(config) is not None:
        advice = "with `language: predicted` in the decode config the objective langid chooses among them"
    else:
        advice = "train an objective langid, which chooses among them, or one head for all languages, on a stream without lang"
    return f"no head reads {', '.join(unread)}; there are heads for {', '.join(languages_read)}; {advice}"


def language_id(config: TrainConfig, system: System) -> LanguageId:
    """The langid objective of a system. Raises UserError if there is none."""
    name = langid_objective(config)
    if name is None:
        example = "an objective such as `lid: {type: langid, stream: raw}` in training"
        raise UserError(f"language: predicted needs {example}; this system has none")
    return system.objectives[name]
