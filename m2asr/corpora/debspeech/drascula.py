"""Drascula: The Vampire Strikes Back, an adventure game with English and Spanish speech.

PREFIXn.ALS: 32 bytes, unsigned 8 bit at 11,025 Hz, 32 bytes. drascula.dat, big-endian: the number of languages (6), then ten arrays,
each a count and for every language its size, two bytes of padding, and entries [length, text that ends in NUL, padding to 4].
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from m2asr.corpora.debs import package_files
from m2asr.corpora.debspeech.clips import Clip, sentence_case, spoken, tidy
from m2asr.corpora.debspeech.sound import decode_u8
from m2asr.corpora.debspeech.spanish import accented
from m2asr.errors import UserError

LANGUAGES = ("en", "es", "de", "fr", "it", "ru")
LEFT_OUT = {"de"}  # its texts write ae, oe, ue for umlauts
ARRAYS = {"": 501, "d": 84, "b": 15, "bj": 29, "e": 24, "i": 33, "l": 32, "p": 20, "t": 25, "vb": 63}  # prefix of the files -> texts
EDGE = 32  # bytes before and after the sound


def read(debs: dict[str, Path]) -> Iterator[Clip]:
    """The clips of the packages drascula and drascula-spanish; links in the Spanish package to English files are not followed.

    Raises UserError if the texts cannot be read.
    """
    files = dict(package_files(debs["drascula"], lambda name: name.endswith((".ALS", "/drascula.dat"))))
    data = next((data for name, data in files.items() if name.endswith("/drascula.dat")), b"")
    try:
        texts = read_texts(data)
    except (ValueError, struct.error, UnicodeDecodeError) as error:
        raise UserError(f"{debs['drascula']}: cannot read the texts in its drascula.dat: {error}") from None
    yield from _clips("en", files, texts)
    yield from _clips("es", dict(package_files(debs["drascula-spanish"], lambda name: name.endswith(".ALS"))), texts)


def _clips(lang: str, files: dict[str, bytes], texts: dict[tuple[str, int], dict[str, str]]) -> Iterator[Clip]:
    for name, data in sorted(files.items()):
        match = re.fullmatch(r".*/([A-Z]*)([0-9]+)\.ALS", name)
        if match and (spoken_texts := texts.get((match[1].lower(), int(match[2])), {})):
            voice = match[1].lower() or "hacker"
            yield Clip("drascula", f"{voice}_{int(match[2]):03d}", lang, voice, spoken_texts, partial(decode_u8, data[EDGE:-EDGE]))


def read_texts(data: bytes) -> dict[tuple[str, int], dict[str, str]]:
    """{(prefix, number): {language: text}}; texts in capitals become sentences. Raises ValueError for another format."""
    start = data.find(struct.pack(">HH", len(LANGUAGES), ARRAYS[""]))
    if start < 0:
        raise ValueError("the arrays of texts are not found")
    offset = start + 2
    texts: dict[tuple[str, int], dict[str, str]] = {}
    for prefix, count in ARRAYS.items():
        if struct.unpack_from(">H", data, offset)[0] != count:
            raise ValueError(f"no {count} texts at byte {offset}")
        offset += 2
        for lang in LANGUAGES:
            size = struct.unpack_from(">H", data, offset)[0]
            offset += 2
            entry = offset + 2
            for number in range(count):
                length = struct.unpack_from(">H", data, entry)[0]
                raw = data[entry + 2 : entry + length].split(b"\0")[0]
                text = tidy(raw.decode("cp1251" if lang == "ru" else "cp850"))
                if spoken(text) and lang not in LEFT_OUT and (cased := sentence_case(text, lang)):
                    texts.setdefault((prefix, number), {})[lang] = accented(cased) if lang == "es" else cased
                entry += length
            offset += size
    return texts
