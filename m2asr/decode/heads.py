"""Which heads recognize or translate a recording in a known language, and which CTC head tells when its words are said."""

from __future__ import annotations

from collections.abc import Mapping

from m2asr.decode.leads import by_preference
from m2asr.decode.routes import routes
from m2asr.decode.search import Reader
from m2asr.errors import UserError
from m2asr.train_config import TrainConfig


def spoken_languages(config: TrainConfig, heads: Mapping[str, Reader]) -> list[str]:
    """The languages that have heads of their own; a head on a stream without `lang` reads others as well."""
    return sorted({lang for reader in heads.values() if (lang := config.streams[reader.stream].lang) is not None})


def recognizer(config: TrainConfig, heads: Mapping[str, Reader], lang: str) -> Reader | None:
    """The head that recognizes a language: the first of its own, else one for every language, else None."""
    return _reader(config, heads, lang, task="asr")


def translator(config: TrainConfig, heads: Mapping[str, Reader], lang: str, to: str) -> Reader | None:
    """The head that translates one language into another: the first of its own, else one for every language, else None."""
    return _reader(config, heads, lang, task="st", to=to)


def no_recognizer(config: TrainConfig, heads: Mapping[str, Reader], lang: str) -> UserError:
    """What to tell where no head recognizes a language."""
    there = [other for other in spoken_languages(config, heads) if recognizer(config, heads, other)]
    return UserError(f"no head reads {lang}; there are heads for {', '.join(there) or 'no language'}")


def no_translator(config: TrainConfig, heads: Mapping[str, Reader], lang: str, to: str) -> UserError:
    """What to tell where no head translates one language into another."""
    texts = sorted({(config.streams[reader.stream].lang or "every language", reader.text) for reader in heads.values()})
    there = [f"{spoken} into {text.removeprefix('text.')}" for spoken, text in texts if text.startswith("text.")]
    return UserError(f"no head translates {lang} into {to}; there is {', '.join(there) or 'no translation in this system'}")


def marking_head(config: TrainConfig, reader: Reader) -> str | None:
    """The CTC objective whose alignment gives time marks to what a reader wrote: it writes the same tokens of the same text.

    One of the reader's stream comes before one of a stream without `lang`. None where there is only an attention decoder, which cannot
    tell when a word is said.
    """
    if reader.ctc is not None:
        return reader.ctc
    beside, shared = [], []
    for name in by_preference(config, config.objectives):
        objective, options = config.objectives[name], config.objectives[name].options()
        if objective.type == "ctc" and objective.decode and (options["tokens"], options["text"]) == (reader.tokens, reader.text):
            if objective.stream == reader.stream:
                beside.append(name)
            elif config.streams[objective.stream].lang is None:
                shared.append(name)
    return next(iter(beside + shared), None)


def _reader(config: TrainConfig, heads: Mapping[str, Reader], lang: str, task: str, to: str | None = None) -> Reader | None:
    own, shared = [], []
    for route in routes(config, heads, [lang]).values():
        if route.task["task"] == task and (to is None or route.task["lang"] == to) and lang in route.readers:
            reader = route.readers[lang]
            (shared if config.streams[reader.stream].lang is None else own).append(reader)
    return next(iter(own + shared), None)
