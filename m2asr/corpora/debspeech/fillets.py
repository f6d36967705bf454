"""Fish Fillets NG, a puzzle game whose fish talk Czech and Dutch, with subtitles in a dozen languages.

script/<level>/[<topic>_]dialogs_<lang>.lua: `dialogId("id", "font", "English")`, then `dialogStr("text")` where there is a translation;
sound/<level>/.../<lang>/<id>.ogg. The font is the colour of the subtitles, and so names who speaks.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from m2asr.corpora.debs import file_text, package_files
from m2asr.corpora.debspeech.clips import TARGETS, Clip, spoken, tidy
from m2asr.corpora.debspeech.sound import decode_file

STRING = r'"((?:[^"\\]|\\.)*)"'
DIALOG = re.compile(rf"dialogId\(\s*{STRING}\s*,\s*{STRING}\s*,\s*{STRING}\s*\)(?:\s*dialogStr\(\s*{STRING}\s*\))?", re.DOTALL)
SCRIPT = re.compile(r".*/script/(\w+)/(?:\w+_)?dialogs_(\w\w)\.lua")
SOUND = re.compile(r".*/sound/(\w+)/(?:\w+/)?(\w\w)/([\w-]+)\.ogg")
SPOKEN = ("cs", "nl")
FILLED = "%1"  # the game inserts a number or name here, so the text differs from the speech


def read(debs: dict[str, Path]) -> Iterator[Clip]:
    """The clips of the packages fillets-ng-data-cs and -nl, with the texts of fillets-ng-data."""
    texts: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    voices: dict[tuple[str, str], str] = {}
    deb = debs["fillets-ng-data"]
    for name, data in package_files(deb, lambda name: SCRIPT.fullmatch(name) is not None):
        level, lang = SCRIPT.fullmatch(name).groups()
        for key, font, english, translation in DIALOG.findall(file_text(deb, name, data)):
            voices.setdefault((level, key), font.removeprefix("font_"))
            for language, text in (("en", english), (lang, translation)):
                if language in TARGETS and text:
                    texts[level, key].setdefault(language, tidy(_unescape(text)))
    for lang in SPOKEN:
        for name, data in package_files(debs[f"fillets-ng-data-{lang}"], lambda name: SOUND.fullmatch(name) is not None):
            level, _, key = SOUND.fullmatch(name).groups()
            dialog_texts = texts.get((level, key), {})
            if not any(FILLED in text for text in dialog_texts.values()):
                dialog_texts = {language: text for language, text in dialog_texts.items() if spoken(text)}
                voice = voices.get((level, key)) or "other"
                yield Clip("fillets", f"{level}_{key}", lang, voice, dialog_texts, partial(decode_file, data))


def _unescape(text: str) -> str:
    """A Lua string without its backslashes."""
    return re.sub(r"\\(.)", lambda escaped: " " if escaped[1] == "n" else escaped[1], text, flags=re.DOTALL)
