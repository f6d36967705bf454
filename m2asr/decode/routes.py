"""Which head reads an utterance: that of the language it is known, or recognized, to be in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

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


def routes(
    config: TrainConfig,
    heads: Mapping[str, Reader],
    languages: Sequence[str],
    has_text: Callable[[str], bool],
    langid: LanguageId | None = None,
) -> dict[str, dict[str, Route]]:
    """For a set in these languages, per stream and head the route of its utterances; none for sets in several, which are not scored.

    A head of a stream with a `lang` reads sets in that language, one of a stream without reads every set. With `langid`, utterances
    taken for another language go to that language's head for the same kind of text.
    """
    source = "+".join(languages)
    found: dict[str, dict[str, Route]] = {}
    for name, reader in heads.items():
        own = config.streams[reader.stream].lang
        if not has_text(reader.text) or len(languages) != 1 or own not in (None, source):
            continue
        chosen = {source: reader}
        if langid and own is None:
            chosen |= dict.fromkeys(langid.languages, reader)
        elif langid:
            for other in heads.values():
                lang = config.streams[other.stream].lang
                if lang is not None and other.text == reader.text:
                    chosen.setdefault(lang, other)
        lang = source if reader.text == "text" else reader.text.removeprefix("text.")
        task = {"task": "asr" if reader.text == "text" else "st", "lang": lang, "source": source, "text": reader.text}
        told = own is not None and langid is None
        found.setdefault(reader.stream, {})[name] = Route(chosen, task, "oracle" if told else "predicted")
    return found


def language_id(config: TrainConfig, system: System) -> LanguageId:
    """The system's langid objective. Raises UserError where it has none."""
    for name, objective in config.objectives.items():
        if objective.type == "langid":
            return system.objectives[name]
    raise UserError("language: predicted needs an objective such as `lid: {type: langid, stream: raw}` in training; this system has none")
