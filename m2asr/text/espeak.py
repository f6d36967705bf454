"""Reads texts out with espeak-ng, a program that knows more than a hundred languages (apt-get install espeak-ng)."""

from __future__ import annotations

import re
import shutil
import subprocess
import textwrap
from collections.abc import Sequence

from m2asr.errors import UserError
from m2asr.text.language import language_of

PROGRAM = "espeak-ng"
LONGEST = 300  # characters of a line; espeak-ng breaks lines of 1,000 bytes in the middle of a word
_SILENT = re.compile(r"\([a-z-]+\)|[ˈˌ]")  # marks of words that are read in another language, and of stress


def read_aloud(texts: Sequence[str], lang: str) -> list[str]:
    """The phones of normalized texts in IPA, separated by spaces, without stress marks; one process reads all texts.

    Raises UserError if espeak-ng is not installed or has no voice for the language.
    """
    phones = iter(_read([text for text in texts if len(text) <= LONGEST], lang))
    return [next(phones) if len(text) <= LONGEST else " ".join(_read(textwrap.wrap(text, LONGEST), lang)) for text in texts]


def _read(texts: Sequence[str], lang: str) -> list[str]:
    """The phones of texts that are not too long; a text of several clauses has several lines, so halves are read again to tell whose."""
    if not texts:
        return []
    lines = _run(texts, lang)
    if len(lines) == len(texts):  # every text has a line at least
        return lines
    if len(texts) == 1:
        return [" ".join(lines)]
    half = len(texts) // 2
    return [*_read(texts[:half], lang), *_read(texts[half:], lang)]


def _run(texts: Sequence[str], lang: str) -> list[str]:
    program = shutil.which(PROGRAM)
    if program is None:
        raise UserError(f"--how espeak: {PROGRAM} is not installed; apt-get install {PROGRAM}, or take --how letters")
    language = language_of(lang)
    for voice in filter(None, (language.region and f"{language.code}-{language.region.lower()}", language.code)):
        command = [program, "-q", "--ipa", "--sep=_", "-v", voice]
        result = subprocess.run(command, input="".join(f"{text}\n" for text in texts).encode(), capture_output=True, check=False)
        if not result.returncode:
            break
    else:
        problem = " ".join(result.stderr.decode(errors="replace").split())
        raise UserError(f"--how espeak: {PROGRAM} cannot read {lang}: {problem}; `{PROGRAM} --voices` lists its languages")
    return [" ".join(re.split("[ _]+", _SILENT.sub("", line).strip(" _"))) for line in result.stdout.decode().splitlines()]
