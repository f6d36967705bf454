"""Small copies of the public corpora: their layouts and file formats, filled with real speech of egs/mini."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

from tests.conftest import CORPUS

RATE = 16000
SUBTYPES = {".opus": {"format": "OGG", "subtype": "OPUS"}, ".sph": {"format": "NIST", "subtype": "PCM_16"}}


@cache
def prompts(lang: str) -> list[tuple[str, Path]]:
    """Text and recording of the prompts of two to six words."""
    with open(CORPUS / "transcripts.tsv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if 2 <= len(row[lang].split()) <= 6]
    return [(row[lang], CORPUS / "audio" / lang / f"{row['id'].replace('/', '_')}.opus") for row in rows]


def said(number: int, lang: str = "en") -> str:
    """The text of a prompt, cased and punctuated."""
    return prompts(lang)[number][0]


@cache
def wave(number: int, lang: str = "en") -> np.ndarray:
    """The samples of a prompt, float64 (N,) at 16 kHz."""
    return soundfile.read(prompts(lang)[number][1])[0]


def speak(path: Path, *numbers: int, lang: str = "en", rate: int = RATE) -> float:
    """Write prompts one after the other in the format that the name of the file says; returns the seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.concatenate([wave(number, lang) for number in numbers])
    samples = np.repeat(samples, rate // RATE)
    soundfile.write(path, samples, rate, **SUBTYPES.get(path.suffix, {}))
    return len(samples) / rate


def write_lines(path: Path, *lines: str) -> None:
    """Write a UTF-8 text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def librispeech(folder: Path, parts: tuple[str, ...] = ("train-clean-100", "dev-clean", "test-clean")) -> Path:
    """LibriSpeech with two speakers per part, the second of them with two chapters of two utterances; returns its folder."""
    root = folder / "LibriSpeech"
    write_lines(root / "SPEAKERS.TXT", ";ID |SEX| SUBSET |MINUTES| NAME")
    for place, part in enumerate(parts):
        for speaker, chapter in ((f"{place + 1}", "100"), (f"{place + 1}0", "200"), (f"{place + 1}0", "201")):
            names = [f"{speaker}-{chapter}-{number:04d}" for number in range(2)]
            for number, name in enumerate(names):
                speak(root / part / speaker / chapter / f"{name}.flac", place * 2 + number)
            lines = [f"{name} {said(place * 2 + number).upper().rstrip('.')}" for number, name in enumerate(names)]
            write_lines(root / part / speaker / chapter / f"{speaker}-{chapter}.trans.txt", *lines)
    return root
