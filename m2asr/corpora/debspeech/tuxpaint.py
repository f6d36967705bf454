"""Descriptions of the stamps of Tux Paint, a drawing program for children, read by volunteers.

<stamp>.txt: the English description, then lines `<language>.utf8=description`; <stamp>_desc_<language>.ogg.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from m2asr.corpora.debs import file_text, package_files
from m2asr.corpora.debspeech.clips import TARGETS, Clip, spoken, tidy
from m2asr.corpora.debspeech.sound import decode_file

STAMP = re.compile(r".*/stamps/(.+)\.txt")
SOUND = re.compile(r".*/stamps/(.+)_desc_(bg|es|fr|ro|ru)\.ogg")  # the speech of ca, el and da differs from the texts
NAMES = {"zh_CN": "zh"}  # languages with another name in the package


def read(debs: dict[str, Path]) -> Iterator[Clip]:
    """The clips of the package tuxpaint-stamps-default."""
    texts: dict[str, dict[str, str]] = {}
    sounds: dict[tuple[str, str], bytes] = {}
    deb = debs["tuxpaint-stamps-default"]
    for name, data in package_files(deb, lambda name: bool(STAMP.fullmatch(name) or SOUND.fullmatch(name))):
        if stamp := STAMP.fullmatch(name):
            texts[stamp[1]] = read_texts(file_text(deb, name, data))
        else:
            sounds[SOUND.fullmatch(name).groups()] = data
    for (stamp, lang), data in sorted(sounds.items()):
        yield Clip("tuxpaint", stamp.replace("/", "_"), lang, "", texts.get(stamp, {}), partial(decode_file, data))


def read_texts(text: str) -> dict[str, str]:
    """{language: description}; the first line is English."""
    first, *lines = text.splitlines() or [""]
    texts = {"en": first}
    for line in lines:
        name, mark, text = line.partition(".utf8=")
        lang = NAMES.get(name, name)
        if mark and lang in TARGETS:
            texts.setdefault(lang, text)
    return {lang: tidy(text) for lang, text in texts.items() if spoken(text)}
