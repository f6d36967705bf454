"""Semi-synthetic Mandarin: recorded syllables of two people, joined to the sentences of a textbook with English translations.

gcin-voice: ogg/<syllable in zhuyin><tone>/<speaker>.ogg, tone 1 without a digit, the neutral one as 1. hsk-sentences-audio:
sentences.json with `id`, `chinese`, `pinyin_numbered` and `translation`. The result has no tone sandhi, no intonation and no rhythm.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from m2asr.corpora.debs import LARGEST, package_files
from m2asr.corpora.debspeech.clips import Clip, tidy
from m2asr.corpora.debspeech.sound import RATE, decode_file, resample
from m2asr.errors import UserError

SOUND = re.compile(r".*/ogg/([^/]+)/([35])\.ogg")
VOICES = {"3": ("train",), "5": ("dev", "test")}  # speaker -> splits: training and evaluation have different speakers
TONES = str.maketrans({"ˊ": "2", "ˇ": "3", "ˋ": "4", "˙": "1"})
SENTENCES = "hsk_sentences_audio/data/sentences.json"
OTHER_TONES = ("4", "", "2", "3")  # used if a neutral tone was not recorded, the short falling tone first


class Sentence(NamedTuple):
    """An id, a Chinese sentence, its pinyin with numbers for the tones, its translation."""

    key: str
    chinese: str
    pinyin: str
    english: str


def read(debs: dict[str, Path]) -> Iterator[Clip]:
    """The sentences of hsk-sentences-audio whose syllables are in the package gcin-voice, once per speaker.

    Raises UserError for a damaged syllable or wheel.
    """
    syllables_of: dict[str, dict[str, np.ndarray]] = {voice: {} for voice in VOICES}
    for name, data in package_files(debs["gcin-voice"], lambda name: SOUND.fullmatch(name) is not None):
        syllable, voice = SOUND.fullmatch(name).groups()
        try:
            syllables_of[voice][syllable] = resample(*decode_file(data))
        except UserError as error:
            raise UserError(f"{debs['gcin-voice']}: cannot read {name} in it: {error}; remove the package and fetch it again") from None
    for sentence in read_sentences(debs["hsk"]):
        texts = {"zh": tidy(sentence.chinese), "en": tidy(sentence.english)}
        syllables = [zhuyin(syllable) for syllable in sentence.pinyin.split()]
        for voice, splits in VOICES.items():
            sound = partial(_join, syllables_of[voice], syllables)
            yield Clip("semisynthetic", sentence.key, "zh", f"gcin{voice}", texts, sound, splits)


def read_sentences(wheel: Path) -> list[Sentence]:
    """Read the sentences. Raises UserError if the wheel is damaged, or a sentence lacks a field."""
    try:
        with zipfile.ZipFile(wheel) as files:
            if files.getinfo(SENTENCES).file_size > LARGEST:
                raise ValueError(f"{SENTENCES} is larger than {LARGEST >> 20} MB")
            items = list(json.loads(files.read(SENTENCES)))
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{wheel}: cannot read its sentences ({error}); remove it and fetch it again") from None
    return [_sentence(f"{wheel}: {SENTENCES}: sentence {number}", item) for number, item in enumerate(items, 1)]


def _sentence(location: str, item: object) -> Sentence:
    try:
        sentence = Sentence(item["id"], item["chinese"], item["pinyin_numbered"], item["translation"]["en"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{location}: {error} is missing in it; remove the file and fetch it again") from None
    if not all(isinstance(value, str) for value in sentence):
        raise UserError(f"{location}: id, chinese, pinyin_numbered and translation must be texts; remove the file and fetch it again")
    return sentence


def zhuyin(syllable: str) -> str:
    """A syllable of numbered pinyin as gcin-voice names it: lao3 -> ㄌㄠ3, shi1 -> ㄕ, de5 -> ㄉㄜ1."""
    from pypinyin import Style
    from pypinyin.contrib.tone_convert import tone3_to_tone
    from pypinyin.style import convert

    plain = re.sub("^r5$", "er5", syllable).removesuffix("5")
    return convert(tone3_to_tone(plain), Style.BOPOMOFO, strict=True).translate(TONES)


def _join(recorded: dict[str, np.ndarray], syllables: Sequence[str]) -> tuple[np.ndarray, int] | None:
    """Join recorded syllables; None if one was not recorded."""
    waves = [_recorded(recorded, syllable) for syllable in syllables]
    return (np.concatenate(waves), RATE) if waves and all(wave is not None for wave in waves) else None


def _recorded(recorded: dict[str, np.ndarray], syllable: str) -> np.ndarray | None:
    if syllable not in recorded and syllable.endswith("1"):
        return next((recorded[syllable[:-1] + tone] for tone in OTHER_TONES if syllable[:-1] + tone in recorded), None)
    return recorded.get(syllable)
