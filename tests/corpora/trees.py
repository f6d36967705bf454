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


CHINESE = ("而 对 楼市 成交 抑制 作用 最 大 的 限 购", "也 成为 地方 政府 的 眼中 钉", "打开 空调", "今天 ２５ 度")


def aishell1(folder: Path) -> Path:
    """AISHELL-1 with one speaker per part, two utterances each, and in every part a recording without transcript; returns its folder."""
    root = folder / "data_aishell"
    lines = []
    for number, (part, speaker) in enumerate((("train", "S0002"), ("train", "S0003"), ("dev", "S0724"), ("test", "S0764"))):
        for n in range(3):
            utt = f"BAC009{speaker}W{121 + n:04d}"
            speak(root / "wav" / part / speaker / f"{utt}.wav", 2 + n)
            lines += [f"{utt} {CHINESE[(number + n) % 4]}"] if n else []  # the first is not transcribed
    write_lines(root / "transcript/aishell_transcript_v0.8.txt", *lines)
    return root


def aishell2(folder: Path, evaluation: str = "AISHELL-DEV-TEST-SET") -> Path:
    """AISHELL-2: iOS training data, and dev and test of two channels; returns the folder that holds both."""
    root = folder / "AISHELL-2"
    below = root / evaluation if evaluation else root
    sets = {root / "iOS/data": "IC", below / "iOS/dev": "ID", below / "iOS/test": "IT"}
    sets |= {below / "Android/dev": "AD", below / "Android/test": "AT"}
    for data, prefix in sets.items():
        wavs, texts = [], []
        for number in range(4):
            speaker, utt = f"{prefix[1]}000{number // 2}", f"{prefix}000{number // 2}W000{number}"
            speak(data / "wav" / speaker / f"{utt}.wav", 2 + number)
            wavs.append(f"{utt}\twav/{speaker}/{utt}.wav")
            texts.append(f"{utt}\t{CHINESE[number].replace(' ', '')}")
        write_lines(data / "wav.scp", *wavs)
        write_lines(data / "trans.txt", *texts)
    return root


def mls(folder: Path, ending: str = ".flac", language: str = "italian") -> Path:
    """One language of MLS: speakers 10 and 100 in train, the lists of limited supervision; returns the folder around it."""
    root = folder / f"mls_{language}{'_opus' if ending == '.opus' else ''}"
    for part, speakers in (("train", ("10", "100")), ("dev", ("20",)), ("test", ("30",))):
        lines = []
        for speaker in speakers:
            for number in range(8 if part == "train" else 2):
                name = f"{speaker}_7_{number:06d}"
                speak(root / part / "audio" / speaker / "7" / f"{name}{ending}", 2 + number % 4, lang="it")
                lines.append(f"{name}\t{said(2 + number % 4, 'it').lower().rstrip('.')}")
        write_lines(root / part / "transcripts.txt", *lines)
        write_lines(root / part / "segments.txt", *(f"{line.split()[0]}\thttp://x/y.mp3\t0.0\t1.0" for line in lines))
    limited = root / "train/limited_supervision"
    write_lines(limited / "9hr/handles.txt", *(f"100_7_{number:06d}" for number in range(3)))
    for fold in range(6):
        write_lines(limited / f"1hr/{fold}/handles.txt", f"10_7_{fold:06d}")
    return folder
