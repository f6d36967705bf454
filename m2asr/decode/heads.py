"""Choose the heads that recognize or translate a recording in a known language, and the CTC head that gives the times of its words."""

from __future__ import annotations

from collections.abc import Mapping

from m2asr.decode.leads import by_preference
from m2asr.decode.routes import routes
from m2asr.decode.search import Reader
from m2asr.errors import UserError
from m2asr.train_config import TrainConfig


def spoken_languages(config: TrainConfig, heads: Mapping[str, Reader]) -> list[str]:
    """The languages that have their own heads; a head on a stream without `lang` reads all languages."""
    return sorted({lang for reader in heads.values() if (lang := config.streams[reader.stream].lang) is not None})


def recognizer(config: TrainConfig, heads: Mapping[str, Reader], lang: str) -> Reader | None:
    """The head that recognizes a language: the first head of this language, or a head for all languages, or None."""
    return _reader(config, heads, lang, task="asr")


def translator(config: TrainConfig, heads: Mapping[str, Reader], lang: str, to: str) -> Reader | None:
    """The head that translates from one language into another: the first of this language, or one for all languages, or None."""
    return _reader(config, heads, lang, task="st", to=to)


def no_recognizer_error(config: TrainConfig, heads: Mapping[str, Reader], lang: str) -> UserError:
    """The error to raise when no head recognizes a language."""
    languages = [language for language in spoken_languages(config, heads) if recognizer(config, heads, language)]
    return UserError(f"no head reads {lang}; there are heads for {', '.join(languages) or 'no language'}")


def no_translator_error(config: TrainConfig, heads: Mapping[str, Reader], lang: str, to: str) -> UserError:
    """The error to raise when no head translates from one language into another."""
    texts = sorted({(config.streams[reader.stream].lang or "every language", reader.text) for reader in heads.values()})
    translations = [f"{spoken} into {text.removeprefix('text.')}" for spoken, text in texts if text.startswith("text.")]
    return UserError(f"no head translates {lang} into {to}; translations of this system: {', '.join(translations) or 'none'}")


def marking_head(config: TrainConfig, reader: Reader) -> str | None:
    """The CTC objective whose alignment gives the time marks of a reader's text; it writes the same tokens of the same text.

    An objective on the reader's stream is preferred to one on a stream without `lang`. The result is None if there is none: an attention
    decoder or a transducer alone has no time marks.
    """
    if reader.ctc is not None:
        return reader.ctc
    same_stream, shared = [], []
    for name in by_preference(config, config.objectives):
        objective, options = config.objectives[name], config.objectives[name].options()
        if objective.type == "ctc" and objective.decode and (options["tokens"], options["text"]) == (reader.tokens, reader.text):
            if objective.stream == reader.stream:
                same_stream.append(name)
            elif config.streams[objective.stream].lang is None:
                shared.append(name)
    return next(iter(same_stream + shared), None)


def _reader(config: TrainConfig, heads: Mapping[str, Reader], lang: str, task: str, to: str | None = None) -> Reader | None:
    of_language, shared = [], []
    for route in routes(config, heads, [lang]).values():
        if route.task["task"] == task and (to is None or route.task["lang"] == to) and lang in route.readers:
            reader = route.readers[lang]
            (shared if config.streams[reader.stream].lang is None else of_language).append(reader)
    return next(iter(of_language + shared), None)
