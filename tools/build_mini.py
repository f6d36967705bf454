"""Build egs/mini/corpus, the embedded speech, from the Debian packages of Asterisk's core sounds.

Example:
  python tools/build_mini.py --out egs/mini/corpus                     # downloads the packages with apt-get download
  python tools/build_mini.py --out egs/mini/corpus --debs FOLDER       # takes packages that are already there
"""

from __future__ import annotations

import argparse
import gzip
import re
import shutil
import subprocess
import tempfile
import zlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import soundfile
from G722 import G722

VOICES = {"en": "en_US_f_Allison", "it": "it_IT_m_Carlo", "ru": "ru_RU_f_IvrvoiceRU"}
LEFT_OUT = re.compile(r"silence/.*|.*2tone|beep|beeperr|confbridge-(join|leave)|tt-monkeys")  # no speech
SHORTEST, LONGEST = 0.3, 20.0  # seconds
OPUS_LEVEL = 0.957  # soundfile's compression level, about 24 kbit/s: the whole set stays near 9 MB

MOJIBAKE = {"sar?": "sarà", "pu?": "può", "cos?": "così", "pi?": "più", " ? ": " è "}
SPELLING = {
    "en": {
        "#": "pound",
        "*": "star",
        "exclaimation-point": "exclamation point",
        "fourtieth": "fortieth",
        "represenatives": "representatives",
        "umute": "unmute",
        "Un-indentified or witheld": "Unidentified or withheld",
    },
    "it": {"cassella": "casella", "come::": "come:", "erpiacere": "er piacere"},
    "ru": {
        "взёздочка": "звёздочка",
        "демонтрационным": "демонстрационным",
        "завршить": "завершить",
        "октрября": "октября",
        "увеличиения": "увеличения",
        "чтобы бы": "чтобы",
    },
}
NEXT_PROMPT = re.compile(r"\s[a-z]+(-[a-z]+)+: .*")  # two lines of the list have run into the next ones
SPOKEN = re.compile(r"\[(quello|suo|tentativo di)\]")  # brackets whose words are said, in Italian
NOTES = re.compile(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>")  # notes to the reader that nobody says
LATIN = str.maketrans("aeopcyxABEKMHOPCTX", "аеорсухАВЕКМНОРСТХ")  # look-alikes inside Cyrillic words

ATTRIBUTION = """# The speech in this folder

Recordings and texts are the Asterisk core sounds 1.6.1, as packaged by Debian, one professional speaker per language.

| language | speaker | licence | Debian packages |
|---|---|---|---|
| English | Allison Smith, for Digium | CC-BY-SA-3.0, https://creativecommons.org/licenses/by-sa/3.0 | asterisk-core-sounds-en, -en-g722 |
| Italian | Carlo Flora | CC-BY-3.0, https://creativecommons.org/licenses/by/3.0 | asterisk-core-sounds-it, -it-g722 |
| Russian | Maxim Topal (voice: IvrvoiceRU) | CC-BY-3.0, https://creativecommons.org/licenses/by/3.0 | asterisk-core-sounds-ru, -ru-g722 |

Changes: the 16 kHz G.722 recordings were decoded and encoded again as Ogg Opus; texts were repaired (wrong characters, spelling, notes
that nobody says); prompts without speech, and those shorter than 0.3 s or longer than 20 s, were left out. `tools/build_mini.py` makes
this folder from the packages. The English recordings in this form are under CC-BY-SA-3.0 again. `LICENSE.<language>` are the packages'
own copyright files.
"""


def repair(lang: str, text: str) -> str:
    """The words that are said, with case and punctuation."""
    text = NEXT_PROMPT.sub("", text)
    if lang == "it":
        for wrong, right in MOJIBAKE.items():
            text = text.replace(wrong, right)
        text = SPOKEN.sub(r"\1", text)
    text = NOTES.sub(" ", text)
    for wrong, right in SPELLING[lang].items():
        text = text.replace(wrong, right)
    if lang == "ru":
        text = re.sub(r"\w*[а-яА-Я]\w*", lambda word: word[0].translate(LATIN), text)
    return re.sub(r"\s+", " ", text).strip()


def read_texts(path: Path, lang: str) -> dict[str, str]:
    """Prompt id to repaired text from a package's list; ids are lower case, since the packages disagree on it."""
    texts = {}
    for line in gzip.decompress(path.read_bytes()).decode("utf-8-sig").splitlines():
        name, colon, text = line.partition(":")
        if line.startswith(";") or not colon:
            continue
        text = repair(lang, text)
        if re.search(r"\w", text):
            texts[name.strip().lower()] = text
    if lang == "ru":
        texts.pop("letters/at", None)  # not translated
    return texts


def unpack(debs: Path, out: Path) -> None:
    """Extract the packages, downloading those that are missing."""
    for lang in VOICES:
        for package in (f"asterisk-core-sounds-{lang}", f"asterisk-core-sounds-{lang}-g722"):
            if not list(debs.glob(f"{package}_*.deb")):
                subprocess.run(["apt-get", "download", package], cwd=debs, check=True)
            (deb,) = debs.glob(f"{package}_*.deb")
            subprocess.run(["dpkg-deb", "-x", deb, out], check=True)


def encode(data: bytes, path: Path) -> float:
    """Write G.722 bytes as Ogg Opus; returns the seconds."""
    wave = np.asarray(G722(16000, 64000).decode(data), dtype=np.int16)  # a fresh decoder: no state from the recording before
    with soundfile.SoundFile(path, "w", 16000, 1, format="OGG", subtype="OPUS", compression_level=OPUS_LEVEL) as file:
        file.write(wave)
    path.write_bytes(with_serial(path.read_bytes(), zlib.crc32(path.stem.encode())))
    return len(wave) / 16000


def with_serial(ogg: bytes, serial: int) -> bytes:
    """The same Ogg stream under another serial number; the encoder draws one by the clock, so that no two runs agree (RFC 3533)."""
    pages, start = [], 0
    while start < len(ogg):
        segments = ogg[start + 26]
        end = start + 27 + segments + sum(ogg[start + 27 : start + 27 + segments])
        page = bytearray(ogg[start:end])
        page[14:18], page[22:26] = serial.to_bytes(4, "little"), bytes(4)
        page[22:26] = ogg_crc(page).to_bytes(4, "little")
        pages.append(bytes(page))
        start = end
    return b"".join(pages)


def ogg_crc(page: bytes) -> int:
    """Ogg's checksum: CRC-32 with polynomial 0x04c11db7, not reflected, from 0."""
    crc = 0
    for byte in page:
        crc = (crc << 8 ^ CRC_TABLE[crc >> 24 ^ byte]) & 0xFFFFFFFF
    return crc


def _crc_of_byte(byte: int) -> int:
    crc = byte << 24
    for _ in range(8):
        crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc


CRC_TABLE = [_crc_of_byte(byte) for byte in range(256)]


def build(packages: Path, out: Path) -> None:
    """Write audio, transcripts.tsv, attribution and licences; the same packages give the same bytes."""
    texts: dict[str, dict[str, str]] = {}
    for lang, voice in VOICES.items():
        docs = packages / "usr/share/doc" / f"asterisk-core-sounds-{lang}"
        shutil.copy(docs / "copyright", out / f"LICENSE.{lang}")
        known = read_texts(docs / f"core-sounds-{lang}.txt.gz", lang)
        sounds = packages / "usr/share/asterisk/sounds" / voice
        folder = out / "audio" / lang
        folder.mkdir(parents=True)
        seconds = 0.0
        dropped = defaultdict(list)
        for path in sorted(sounds.rglob("*.g722")):
            name = str(path.relative_to(sounds).with_suffix("")).lower()
            data = path.read_bytes()
            if LEFT_OUT.fullmatch(name):
                dropped["no speech"].append(name)
            elif name not in known:
                dropped["no text"].append(name)
            elif not SHORTEST <= len(data) / 8000 <= LONGEST:
                dropped[f"not {SHORTEST} to {LONGEST} s long"].append(name)
            else:
                seconds += encode(data, folder / f"{name.replace('/', '_')}.opus")
                texts.setdefault(name, {})[lang] = known[name]
        print(f"{lang}: {sum(lang in found for found in texts.values())} prompts, {seconds / 3600:.2f} h")
        for reason, names in dropped.items():
            print(f"  dropped {len(names)}: {reason}: {' '.join(names)}")
    with open(out / "transcripts.tsv", "w", encoding="utf-8", newline="\n") as file:
        file.write("id\t" + "\t".join(VOICES) + "\n")
        for name in sorted(texts):
            file.write(name + "".join("\t" + texts[name].get(lang, "") for lang in VOICES) + "\n")
    (out / "ATTRIBUTION.md").write_text(ATTRIBUTION, encoding="utf-8")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {size / 1e6:.2f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write; it must not exist")
    parser.add_argument("--debs", type=Path, help="folder with the .deb files, default: download them")
    args = parser.parse_args()
    if args.out.exists():
        parser.error(f"{args.out} exists; move it away first")
    with tempfile.TemporaryDirectory() as scratch:
        packages, made = Path(scratch, "packages"), Path(scratch, "corpus")
        for folder in (packages, made):
            folder.mkdir()
        unpack(args.debs or Path(scratch), packages)
        build(packages, made)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, args.out)


if __name__ == "__main__":
    main()
