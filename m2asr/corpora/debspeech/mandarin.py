"""Semi-synthetic Mandarin: syllables that two people really said, joined to the sentences of a textbook with English translations.

gcin-voice: ogg/<syllable in zhuyin><tone>/<speaker>.ogg, tone 1 without a digit, the neutral one as 1. hsk-sentences-audio:
sentences.json with `id`, `chinese`, `pinyin_numbered` and `translation`. There is no tone sandhi, no intonation and no rhythm in it.
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

from m2asr.corpora.debs import package_files
from m2asr.corpora.debspeech.clips import Clip, tidy
from m2asr.corpora.debspeech.sound import RATE, decode_file, resample
from m2asr.errors import UserError

SOUND = re.compile(r".*/ogg/([^/]+)/([35])\.ogg")
VOICES = {"3": ("train",), "5": ("dev", "test")}  # speaker -> parts: who is tested is not trained on
TONES = str.maketrans({"ˊ": "2", "ˇ": "3", "ˋ": "4", "˙": "1"})
SENTENCES = "hsk_sentences_audio/data/sentences.json"
OTHER_TONES = ("4", "", "2", "3")  # instead of a neutral tone that was not recorded, the short falling one first


class Sentence(NamedTuple):
    """An id, a Chinese sentence, its pinyin with numbers for the tones, its translation."""

    key: str
    chinese: str
    pinyin: str
    english: str


def read(debs: dict[str, Path]) -> Iterator[Clip]:
    """The sentences of hsk-sentences-audio whose syllables are in the package gcin-voice, once for every part a speaker may be in."""
    said: dict[str, dict[str, np.ndarray]] = {voice: {} for voice in VOICES}
    for name, data in package_files(debs["gcin-voice"], lambda name: SOUND.fullmatch(name) is not None):
        syllable, voice = SOUND.fullmatch(name).groups()
        try:
            said[voice][syllable] = resample(*decode_file(data))
        except UserError as error:
            raise UserError(f"{debs['gcin-voice']}: cannot read {name} in it: {error}; remove the package and fetch it again") from None
    for sentence in read_sentences(debs["hsk"]):
        texts = {"zh": tidy(sentence.chinese), "en": tidy(sentence.english)}
        syllables = [zhuyin(syllable) for syllable in sentence.pinyin.split()]
        for voice, parts in VOICES.items():
            sound = partial(_join, said[voice], syllables)
            yield Clip("semisynthetic", sentence.key, "zh", f"gcin{voice}", texts, sound, parts)


def read_sentences(wheel: Path) -> list[Sentence]:
    """The sentences. Raises UserError where the wheel is broken, or a sentence lacks something."""
    try:
        with zipfile.ZipFile(wheel) as files:
            items = list(json.loads(files.read(SENTENCES)))
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{wheel}: cannot read its sentences ({error}); remove it and fetch it again") from None
    return [_sentence(f"{wheel}: {SENTENCES}: sentence {number}", item) for number, item in enumerate(items, 1)]


def _sentence(place: str, item: object) -> Sentence:
    try:
        found = Sentence(item["id"], item["chinese"], item["pinyin_numbered"], item["translation"]["en"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{place}: {error} is missing in it; remove the file and fetch it again") from None
    if not all(isinstance(value, str) for value in found):
        raise UserError(f"{place}: id, chinese, pinyin_numbered and translation must be texts; remove the file and fetch it again")
    return found


def zhuyin(syllable: str) -> str:
    """A syllable of numbered pinyin as gcin-voice names it: lao3 -> ㄌㄠ3, shi1 -> ㄕ, de5 -> ㄉㄜ1."""
    from pypinyin import Style
    from pypinyin.contrib.tone_convert import tone3_to_tone
    from pypinyin.style import convert

    plain = re.sub("^r5$", "er5", syllable).removesuffix("5")
    return convert(tone3_to_tone(plain), Style.BOPOMOFO, strict=True).translate(TONES)


def _join(said: dict[str, np.ndarray], syllables: Sequence[str]) -> tuple[np.ndarray, int] | None:
    """Recorded syllables one after the other; None where one was not recorded."""
    found = [_recorded(said, syllable) for syllable in syllables]
    return (np.concatenate(found), RATE) if found and all(wave is not None for wave in found) else None


def _recorded(said: dict[str, np.ndarray], syllable: str) -> np.ndarray | None:
    if syllable not in said and syllable.endswith("1"):
        return next((said[syllable[:-1] + tone] for tone in OTHER_TONES if syllable[:-1] + tone in said), None)
    return said.get(syllable)
