"""Small packages in the exact formats of debspeech, filled with real speech of egs/mini."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

from m2asr.corpora.debspeech import drascula, steelsky
from m2asr.corpora.debspeech.asterisk import VOICES
from m2asr.corpora.debspeech.packages import HSK, PACKAGES
from tests.corpora.trees import RATE, wave


def deb(files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    """A Debian package: ar with debian-binary, control and data; one member has an odd size."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(f"./{name}")
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return ar({"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": lzma.compress(data.getvalue())})


def ar(members: Mapping[str, bytes]) -> bytes:
    """An ar archive."""
    out = b"!<arch>\n"
    for name, content in members.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content + b"\n" * (len(content) % 2)
    return out


def write_deb(folder: Path, name: str, files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> Path:
    """Write a package under the file name that debspeech expects."""
    path = folder / next(package.file for package in PACKAGES if package.name == name)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(deb({f"usr/share/doc/{name}/copyright": f"Copyright of {name}\n".encode(), **files}, links))
    return path


def samples(number: int, rate: int, lang: str = "en") -> np.ndarray:
    """A prompt (N,) at about the rate: it is said a little faster."""
    return np.repeat(wave(number, lang), rate // RATE)


@cache
def ogg(number: int, rate: int = 44100, channels: int = 2, lang: str = "en") -> bytes:
    """A prompt as Ogg Vorbis."""
    out = io.BytesIO()
    soundfile.write(out, np.stack([samples(number, rate, lang)] * channels, 1), rate, format="OGG", subtype="VORBIS")
    return out.getvalue()


@cache
def g722(number: int, lang: str = "en") -> bytes:
    """A prompt as G.722 at 64 kbit/s."""
    from G722 import G722

    return bytes(G722(16000, 64000).encode((wave(number, lang) * 32767).astype(np.int16)))


@cache
def u8(number: int) -> bytes:
    """A prompt as unsigned bytes; at 11,025 Hz it is said slower."""
    return (wave(number)[:22050] * 127 + 128).round().astype(np.uint8).tobytes()


def asterisk(folder: Path, texts: Mapping[str, str], sounds: Mapping[str, bytes]) -> None:
    """The ten packages: `texts` by language are the lists, `sounds` the prompts in each language."""
    for lang, voice in VOICES.items():
        name = f"asterisk-core-sounds-{lang}"
        listed = texts.get(lang, "").encode("utf-8-sig" if lang == "it" else "utf-8")
        write_deb(folder, name, {f"usr/share/doc/{name}/core-sounds-{lang}.txt.gz": gzip.compress(listed)})
        paths = {f"usr/share/asterisk/sounds/{voice}/{key}.g722": data for key, data in sounds.items()}
        write_deb(folder, f"{name}-g722", paths)


def fillets(folder: Path, scripts: Mapping[str, str], sounds: Mapping[str, Sequence[str]]) -> None:
    """The three packages: scripts by path below script/, and by language the paths below sound/."""
    root = "usr/share/games/fillets-ng/"
    write_deb(folder, "fillets-ng-data", {f"{root}script/{name}": text.encode() for name, text in scripts.items()})
    for lang, names in sounds.items():
        written = {f"{root}sound/{name}.ogg": ogg(number, 22050, 1 + number % 2) for number, name in enumerate(names)}
        write_deb(folder, f"fillets-ng-data-{lang}", written)


def festvox(folder: Path, lines: Sequence[str]) -> None:
    """The package, with the recordings ru_0001 ..."""
    root = "usr/share/festival/voices/russian/msu_ru_nsh_clunits/"
    files = {f"{root}etc/txt.done.data": "\n".join(lines).encode()}
    for number in range(len(lines)):
        out = io.BytesIO()
        soundfile.write(out, wave(number, "ru"), 16000, format="WAV")
        files[f"{root}wav/ru_{number + 1:04d}.wav"] = out.getvalue()
    write_deb(folder, "festvox-ru", files)


def tuxpaint(folder: Path, stamps: Mapping[str, str], langs: Sequence[str]) -> None:
    """The package: stamps by path with their texts, each read in every one of the languages."""
    root = "usr/share/tuxpaint/stamps/"
    files = {f"{root}{name}.txt": text.encode() for name, text in stamps.items()}
    for number, name in enumerate(stamps):
        files |= {f"{root}{name}_desc_{lang}.ogg": ogg(number % 20) for lang in langs}
    write_deb(folder, "tuxpaint-stamps-default", files)


def game_texts(texts: Mapping[tuple[str, int], Mapping[str, str]]) -> bytes:
    """drascula.dat: something before, six languages, ten arrays of fixed sizes."""
    out = b"DRASCULA" + bytes(range(40)) + struct.pack(">H", 6)
    for prefix, count in drascula.ARRAYS.items():
        out += struct.pack(">H", count)
        for lang in drascula.LANGUAGES:
            entries = b""
            for number in range(count):
                raw = texts.get((prefix, number), {}).get(lang, "").encode("cp1251" if lang == "ru" else "cp850") + b"\0"
                raw += bytes(-(len(raw) + 2) % 4)
                entries += struct.pack(">H", len(raw) + 2) + raw
            out += struct.pack(">HH", len(entries) + 2, 0) + entries
    return out


def drascula_packages(
    folder: Path, texts: Mapping[tuple[str, int], Mapping[str, str]], english: Sequence[str], spanish: Sequence[str]
) -> None:
    """Both packages: `english` and `spanish` name the recordings; what Spanish lacks of English is a link."""
    root = "usr/share/scummvm/drascula/"
    edge = bytes([255]) * 32  # a click, if it were taken for sound
    files = {f"{root}en/{name}.ALS": edge + u8(number) + edge for number, name in enumerate(english)}
    write_deb(folder, "drascula", {f"{root}en/drascula.dat": game_texts(texts), **files})
    files = {f"{root}es/{name}.ALS": edge + u8(number + 5) + edge for number, name in enumerate(spanish)}
    links = {f"{root}es/{name}.ALS": f"../en/{name}.ALS" for name in english if name not in spanish}
    write_deb(folder, "drascula-spanish", files, links)


def pack(data: bytes) -> bytes:
    """Pack by RNC, method 1: 100 literal bytes, then a copy of 8 bytes from 4 before, if it fits; all codes have 4 bits."""
    out = bytearray(b"RNC\1" + struct.pack(">IIHHBB", len(data), 0, 0, 0, 0, 1))
    slot, bits_used = 0, 16

    def write_bits(value: int, count: int) -> None:
        nonlocal slot, bits_used
        for bit in range(count):
            if bits_used == 16:
                slot, bits_used = len(out), 0
                out.extend(bytes(2))
            out[slot + bits_used // 8] |= (value >> bit & 1) << bits_used % 8
            bits_used += 1

    def write_number(value: int) -> None:
        size = value.bit_length()
        for bit in (3, 2, 1, 0):  # codes begin with their highest bit
            write_bits(size >> bit & 1, 1)
        if size > 1:
            write_bits(value - (1 << size - 1), size - 1)

    write_bits(0, 2)
    for _ in range(3):
        write_bits(16, 5)
        for _ in range(16):
            write_bits(4, 4)
    runs, position = [], 0
    while position < len(data):
        literal = data[position : position + 100]
        position += len(literal)
        copy = position >= 4 and data[position : position + 8] == (data[position - 4 : position] * 2) and position + 8 <= len(data)
        runs.append((literal, copy))
        position += 8 * copy
    if not runs or any(not copy for _, copy in runs[:-1]):  # no copies: a single run
        runs = [(data, False)]
    write_bits(len(runs) + runs[-1][1], 16)
    for literal, copy in [*runs, *([(b"", False)] if runs[-1][1] else [])]:
        write_number(len(literal))
        out += literal
        if copy:
            write_number(4 - 1)
            write_number(8 - 2)
    return bytes(out) + b"\0"


LETTERS = "\0 abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,?!'`#()*]\x7f\x8a\x8b\x87"


def tree() -> tuple[bytes, dict[str, str]]:
    """A Huffman tree that begins as the game's does, and the code of every letter: a chain from node 20 on."""
    nodes = bytearray(steelsky.TREE.ljust(steelsky.TREE_SIZE, b"\0"))
    codes = {}
    for index, letter in enumerate(LETTERS):
        chain, leaf = 20 + 2 * index, 21 + 2 * index
        nodes[3 * chain : 3 * chain + 3] = bytes([leaf, chain + 2, 0])
        nodes[3 * leaf + 2] = ord(letter)
        codes[letter] = "1" * (index + 1) + "0"
    return bytes(nodes), codes


def section(texts: Sequence[str], codes: Mapping[str, str]) -> bytes:
    """A file of texts: places of the tables, sizes of the blocks of 32, sizes of the texts, the texts in bits."""
    coded, sizes = "", []
    for text in texts:
        bits = "".join(codes[letter] for letter in text + "\0")
        quarters = -(-len(bits) // 2)
        quarters += -quarters % 8 if quarters > 127 else 0
        sizes.append(quarters)
        coded += bits.ljust(2 * quarters, "0")
    blocks = [sum(sizes[begin : begin + 32]) for begin in range(0, len(sizes), 32)]
    first = 4 + 2 * len(blocks)
    table = bytes(0x80 | size >> 3 if size > 127 else size for size in sizes)
    head = struct.pack(f"<HH{len(blocks)}H", first, first + len(table), *blocks)
    return head + table + int(coded.ljust(-(-len(coded) // 8) * 8, "0"), 2).to_bytes(-(-len(coded) // 8), "big") + bytes(2)


def steelsky_packages(folder: Path, texts: Mapping[str, Sequence[Sequence[str]]], spoken: Mapping[tuple[int, int], bytes]) -> None:
    """The game and the program: texts by language and section, and the recordings (packed or not) by section and number."""
    nodes, codes = tree()
    files = {steelsky.SPEECH + steelsky.FIRST[part] + number: bytes(22) + data for (part, number), data in spoken.items()}
    for lang, sections in texts.items():
        for part, section_texts in enumerate(sections):
            files[steelsky.TEXTS + 8 * steelsky.LANGUAGES[lang] + part] = section(section_texts, codes)
    index, data = struct.pack("<I", len(files)), bytes(16)
    for number, content in files.items():
        index += struct.pack("<H", number) + ((len(data) >> 4) | 1 << 23).to_bytes(3, "little") + len(content).to_bytes(3, "little")
        data += content + bytes(-len(content) % 16)
    root = "usr/share/scummvm/beneath-a-steel-sky/"
    write_deb(folder, "beneath-a-steel-sky", {f"{root}sky.dnr": index, f"{root}sky.dsk": data})
    write_deb(folder, "scummvm", {"usr/games/scummvm": b"\x7fELF" + bytes(99) + nodes + bytes(99)})


def mandarin(folder: Path, syllables: Mapping[str, Sequence[str]], sentences: Sequence[tuple[str, str, str, str]]) -> None:
    """gcin-voice with the syllables of each speaker, and the wheel with (id, Chinese, pinyin, English)."""
    names = [f"usr/share/gcin-voice/ogg/{syllable}/{voice}.ogg" for voice, recorded in syllables.items() for syllable in recorded]
    write_deb(folder, "gcin-voice", {name: ogg(number, 44100, 1) for number, name in enumerate(names)})
    rows = [
        {"id": key, "chinese": text, "pinyin_numbered": pinyin, "translation": {"en": english}} for key, text, pinyin, english in sentences
    ]
    with zipfile.ZipFile(folder / HSK.name, "w") as wheel:
        wheel.writestr("hsk_sentences_audio/data/sentences.json", json.dumps(rows))
        wheel.writestr("hsk_sentences_audio-1.0.0.dist-info/METADATA", "License: MIT (code); CC-BY-SA-4.0 (packaged dataset)\n")


EACH = 30  # items of a source in `debspeech`
SAID = ("asterisk", "drascula", "festvox", "fillets", "steelsky", "tuxpaint")
LATIN = [consonant + vowel for consonant in "bdfghk" for vowel in "aeiou"]
CYRILLIC = [consonant + vowel for consonant in "бвгджз" for vowel in "аеиоу"]


def item(source: str, number: int, lang: str) -> str:
    """Three short words that no other item, source or language has."""
    letters, end = {"bg": (CYRILLIC, "бг"), "ru": (CYRILLIC, "ру")}.get(lang, (LATIN, lang))
    return f"{letters[SAID.index(source)].title()} {letters[number]} {letters[number]}{end}"


def debspeech(folder: Path) -> Path:
    """A small copy of all packages but those of Mandarin, as a mirror: what is said, and translated, is `item`."""
    numbers = range(EACH)
    lists = {lang: "".join(f"p{n}: {item('asterisk', n, lang)}\n" for n in numbers) for lang in VOICES}
    asterisk(folder, lists, {f"p{n}": g722(n % 5) for n in numbers})
    lines = {(lang, n): item("fillets", n, lang) for lang in ("en", "cs", "nl") for n in numbers}
    heads = [f'dialogId("d{n}", "font_small", "{lines["en", n]}")\n' for n in numbers]
    scripts = {f"cave/dialogs_{lang}.lua": "".join(f'{head}dialogStr("{lines[lang, n]}")\n' for n, head in enumerate(heads))
               for lang in ("cs", "nl")}  # fmt: skip
    fillets(folder, scripts, {lang: [f"cave/{lang}/d{n}" for n in numbers] for lang in ("cs", "nl")})
    festvox(folder, [f'( ru_{n + 1:04d} "{item("festvox", n, "ru")}" )' for n in numbers])
    langs = ("fr", "ru", "es", "ro", "bg")
    stamps = {f"s/{n}": "\n".join([item("tuxpaint", n, "en"), *(f"{lang}.utf8={item('tuxpaint', n, lang)}" for lang in langs)])
              for n in numbers}  # fmt: skip
    tuxpaint(folder, stamps, langs)
    texts = {("", n): {lang: item("drascula", n, lang) for lang in ("en", "es")} for n in numbers}
    drascula_packages(folder, texts, [str(n) for n in numbers], [str(n) for n in numbers])
    texts = {lang: [[item("steelsky", n, lang) for n in numbers]] for lang in ("en", "de")}
    steelsky_packages(folder, texts, {(0, n): u8(n % 5) for n in numbers})
    for package in PACKAGES:
        if (folder / package.file).is_file():
            pool = folder / "pool/main" / package.pool
            pool.mkdir(parents=True, exist_ok=True)
            (folder / package.file).rename(pool / package.file)
    return folder
