"""Build egs/mini/corpus, the embedded speech, from the Debian packages of Asterisk's core sounds.

Example:
  python tools/build_mini.py --out egs/mini/corpus                     # downloads the packages with apt-get download
  python tools/build_mini.py --out egs/mini/corpus --debs FOLDER       # takes packages from a folder
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
import zlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import soundfile

from m2asr.corpora.debs import package_files
from m2asr.corpora.debspeech.asterisk import read_sounds, read_texts
from m2asr.corpora.debspeech.packages import paths, remotes
from m2asr.corpora.debspeech.sound import LONGEST, SHORTEST, decode_g722
from m2asr.corpora.download import download

LANGS = ("en", "it", "ru")
OPUS_LEVEL = 0.957  # soundfile's compression level, about 24 kbit/s: the whole set stays near 9 MB

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


def encode(data: bytes, path: Path) -> float:
    """Write G.722 bytes as Ogg Opus; returns the seconds."""
    wave, rate = decode_g722(data)
    with soundfile.SoundFile(path, "w", rate, 1, format="OGG", subtype="OPUS", compression_level=OPUS_LEVEL) as file:
        file.write((wave * 32768).astype(np.int16))  # libsndfile encodes whole numbers otherwise than fractions
    path.write_bytes(with_serial(path.read_bytes(), zlib.crc32(path.stem.encode())))
    return len(wave) / rate


def with_serial(ogg: bytes, serial: int) -> bytes:
    """Return the Ogg stream with another serial number. The encoder takes its number from the clock, so no two runs agree (RFC 3533)."""
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


def build(debs: dict[str, Path], out: Path) -> None:
    """Write audio, transcripts.tsv, attribution and licences; the same packages give the same bytes."""
    texts: dict[str, dict[str, str]] = {}
    for lang in LANGS:
        deb = debs[f"asterisk-core-sounds-{lang}"]
        for _, licence in package_files(deb, lambda name: name.endswith("/copyright")):
            (out / f"LICENSE.{lang}").write_bytes(licence)
        prompts = read_texts(deb, lang)
        folder = out / "audio" / lang
        folder.mkdir(parents=True)
        seconds = 0.0
        dropped = defaultdict(list)
        for name, data in read_sounds(debs[f"asterisk-core-sounds-{lang}-g722"], lang).items():
            if name not in prompts:
                dropped["no text"].append(name)
            elif not SHORTEST <= len(data) / 8000 <= LONGEST:
                dropped[f"not {SHORTEST} to {LONGEST} s long"].append(name)
            else:
                seconds += encode(data, folder / f"{name.replace('/', '_')}.opus")
                texts.setdefault(name, {})[lang] = prompts[name]
        print(f"{lang}: {sum(lang in by_lang for by_lang in texts.values())} prompts, {seconds / 3600:.2f} h")
        for reason, names in dropped.items():
            print(f"  dropped {len(names)}: {reason}: {' '.join(names)}")
    with open(out / "transcripts.tsv", "w", encoding="utf-8", newline="\n") as file:
        file.write("id\t" + "\t".join(LANGS) + "\n")
        for name in sorted(texts):
            file.write(name + "".join("\t" + texts[name].get(lang, "") for lang in LANGS) + "\n")
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
        debs, corpus = args.debs or Path(scratch), Path(scratch, "corpus")
        corpus.mkdir()
        files = [file for file in remotes("asterisk") if re.match(f"asterisk-core-sounds-({'|'.join(LANGS)})[_-]", file.name)]
        download(files, debs)
        build(paths("asterisk", debs), corpus)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(corpus, args.out)


if __name__ == "__main__":
    main()
