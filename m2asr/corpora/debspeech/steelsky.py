"""Beneath a Steel Sky, an adventure game with English speech and subtitles in several languages.

sky.dnr: a count, then 8 bytes per file: number, position in sky.dsk (bit 23: times 16) and size (22 bits), little-endian. Speech of text n
in section s is file 50000 + FIRST[s] + n: a header of 22 bytes and unsigned bytes at 11,025 Hz, nearly always packed. The texts of a
section are file 60600 + 8 * language + s, in Huffman codes whose tree is in the program that plays the game, scummvm.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from itertools import accumulate
from pathlib import Path

import numpy as np

from m2asr.corpora.debs import package_files
from m2asr.corpora.debspeech.clips import Clip, sentence_case, spoken, tidy
from m2asr.corpora.debspeech.rnc import unpack
from m2asr.corpora.debspeech.sound import decode_u8
from m2asr.errors import UserError

SIZES = (600, 500, 1330, 950, 1150, 550, 150)  # numbers for the texts of each section; fewer are used
FIRST = tuple(accumulate(SIZES, initial=0))  # section -> number of its first speech
SPEECH, TEXTS = 50000, 60600  # numbers of files
LANGUAGES = {"en": 0, "de": 1, "fr": 2, "it": 5, "es": 7}
LETTERS = {  # the letters of the game's fonts; in all languages ` opens a quotation, and from 0x7f on there are also arrows and frames
    "en": {},
    "de": dict(zip("#()*}~\x7f", "üßöäÜÄÖ", strict=True)),
    "fr": dict(zip("+/=>@[]^_{\x91\x92", "éçêûôâèÇîïàù", strict=True)),
    "it": dict(zip("+]\x8e\x8f\x91\x92", "éèìòàù", strict=True)),
    "es": dict(zip("#+<\\}\x87\x88\x8a\x8b\x8c\x8d", "üéáúÜíó¿¡Ññ", strict=True)),
}
QUOTE = {"`": "'"}
OTHERS = {chr(code): " " for code in range(0x7F, 0xA0)}
HEADER = 22  # bytes
TREE = bytes.fromhex("011400020700030400000020")  # how the tree begins: triples of left, right and letter
TREE_SIZE = 735
LONGEST_TEXT = 1000  # letters; only damaged files give more


def read(debs: dict[str, Path]) -> Iterator[Clip]:
    """The clips of the package beneath-a-steel-sky, unpacked with the tree in scummvm; its English voices count as one."""
    files = package_files(debs["beneath-a-steel-sky"], lambda name: name.endswith(("/sky.dnr", "/sky.dsk")))
    game_files = {name.rpartition("/")[2]: data for name, data in files}
    programs = [data for _, data in package_files(debs["scummvm"], lambda name: name == "usr/games/scummvm")]
    try:
        disk = Disk(game_files["sky.dnr"], game_files["sky.dsk"])
        offset = programs[0].index(TREE)
        texts = read_texts(disk, programs[0][offset : offset + TREE_SIZE])
    except (KeyError, ValueError, IndexError, struct.error) as error:
        raise UserError(f"{debs['beneath-a-steel-sky']}: cannot read its files: {error}") from None
    for (section, number), texts_of_line in texts.items():
        if (data := disk.file(SPEECH + FIRST[section] + number)) and "en" in texts_of_line:
            yield Clip("steelsky", f"{section}_{number:04d}", "en", "", texts_of_line, partial(decode, data))


class Disk:
    """The files of the game by their numbers."""

    def __init__(self, index: bytes, data: bytes) -> None:
        self.data = data
        count = struct.unpack_from("<I", index)[0]
        rows = (index[4 + 8 * row : 12 + 8 * row] for row in range(count))
        self.entries = {int.from_bytes(row[:2], "little"): row for row in rows}

    def file(self, number: int) -> bytes | None:
        """The bytes of a file, None if there is no such file."""
        if number not in self.entries:
            return None
        row = self.entries[number]
        offset, size = int.from_bytes(row[2:5], "little"), int.from_bytes(row[5:], "little") & 0x3FFFFF
        offset = (offset & 0x7FFFFF) << 4 if offset >> 23 else offset
        return self.data[offset : offset + size]


def decode(data: bytes) -> tuple[np.ndarray, int]:
    """Samples (N,) and rate of a speech file. Raises UserError for a damaged file."""
    try:
        return decode_u8(unpack(data[HEADER:]) if data[HEADER:].startswith(b"RNC\1") else data[HEADER:])
    except ValueError as error:
        raise UserError(f"cannot unpack this recording: {error}") from None


def read_texts(disk: Disk, tree: bytes) -> dict[tuple[int, int], dict[str, str]]:
    """{(section, number): {language: text}}, with usual quotation marks and accents."""
    texts: dict[tuple[int, int], dict[str, str]] = {}
    for lang, code in LANGUAGES.items():
        letters = str.maketrans({**OTHERS, **QUOTE, **LETTERS[lang]})
        for section in range(len(SIZES)):
            data = disk.file(TEXTS + 8 * code + section)
            for number in range(_count(data) if data else 0):
                text = tidy(_text(data, number, tree).translate(letters))
                if spoken(text) and (cased := sentence_case(text, lang)):
                    texts.setdefault((section, number), {})[lang] = cased
    return texts


def _count(data: bytes) -> int:
    """The number of texts of a section, which begins with the offsets of their sizes, a byte each, and of the texts."""
    first, start = struct.unpack_from("<HH", data)
    return start - first


def _text(data: bytes, number: int, tree: bytes) -> str:
    """Text `number` of a section. Its offset, in quarters of a byte, is the sum of the sizes before it, stored per 32 texts and text."""
    block, rest = number >> 5, number & 31
    first, start, *blocks = struct.unpack_from(f"<{2 + block}H", data)
    quarters = sum(blocks)
    for size in data[first + 32 * block :][:rest]:
        quarters += (size & 0x7F) << 3 if size & 0x80 else size
    bit, text = 8 * start + 2 * quarters, []
    while len(text) < LONGEST_TEXT:
        node = 0
        while tree[node] or tree[node + 1]:
            node = 3 * tree[node + (data[bit >> 3] >> 7 - (bit & 7) & 1)]
            bit += 1
        if not tree[node + 2]:
            break
        text.append(chr(tree[node + 2]))
    return "".join(text)
