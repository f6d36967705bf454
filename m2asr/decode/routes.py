"""Which head reads an utterance: one that serves every language, or that of the language it is known, or recognized, to be in."""

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
    """The readers of one target by the language of the utterance, and what results.json tells of it."""

    readers: dict[str, Reader]
    task: dict[str, str]  # task, lang, source, text
    language: str  # oracle where the readers were chosen by the true language, else predicted
    train_sets: list[str]  # what its readers were trained on


def routes(
    config: TrainConfig, heads: Mapping[str, Reader], languages: Sequence[str], langid: LanguageId | None = None
) -> dict[str, Route]:
    """What reads a set in these languages, by name; whether the set has references does not matter.

    A head of a stream without `lang` reads every utterance. The heads of the other streams share them, those for the same kind of text:
    each reads what `langid` takes for its language, or without one what is in it. Together they are `asr_by_language` or
    `st_<lang>_by_language`. But where a set is in one language that heads read, every one of these gives an answer, under its own name.
    """
    source = "+".join(sorted(languages))
    found: dict[str, Route] = {}
    kinds: dict[str, dict[str, list[str]]] = {}  # text -> language -> its heads
    for name, reader in heads.items():
        own = config.streams[reader.stream].lang
        if own is None:
            spoken = [*languages, *(langid.languages if langid else [])]
            sets = config.streams[reader.stream].sets
            found[name] = Route(dict.fromkeys(spoken, reader), _task(reader.text, source), "predicted", sets)
        else:
            kinds.setdefault(reader.text, {}).setdefault(own, []).append(name)
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
            found[key] = Route(
                {lang: heads[name] for lang, name in chosen.items()},
                task,
                "predicted" if langid else "oracle",
                list(dict.fromkeys(chain.from_iterable(sets))),
            )
    return found


def _task(text: str, source: str) -> dict[str, str]:
    task, lang = ("asr", source) if text == "text" else ("st", text.removeprefix("text."))
    return {"task": task, "lang": lang, "source": source, "text": text}


def _shared_name(task: Mapping[str, str]) -> str:
    return f"{'asr' if task['task'] == 'asr' else 'st_' + task['lang']}_by_language"


def unread(
    config: TrainConfig, heads: Mapping[str, Reader], languages: Mapping[str, Sequence[str]], chosen: Mapping[str, Mapping[str, Route]]
) -> str:
    """What to tell of the languages, given by set, that no head reads on the chosen routes, and what would help; empty without such."""
    missing = []
    for name, found in chosen.items():
        read = {lang for route in found.values() for lang in route.readers}
        missing += [f"{lang} ({name})" for lang in languages[name] if lang not in read]
    if not missing:
        return ""
    known = sorted({config.streams[reader.stream].lang for reader in heads.values()})
    if langid_objective(config) is not None:
        advice = "with `language: predicted` in the decode config the objective langid chooses among them"
    else:
        advice = "train an objective langid, which chooses among them, or one head for all languages, on a stream without lang"
    return f"no head reads {', '.join(missing)}; there are heads for {', '.join(known)}; {advice}"


def language_id(config: TrainConfig, system: System) -> LanguageId:
    """The system's langid objective. Raises UserError where it has none."""
    name = langid_objective(config)
    if name is None:
        wanted = "an objective such as `lid: {type: langid, stream: raw}` in training"
        raise UserError(f"language: predicted needs {wanted}; this system has none")
    return system.objectives[name]
