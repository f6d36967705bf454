"""Core sounds of the Asterisk telephone exchange: prompts in five languages, one professional speaker each, 16 kHz G.722.

core-sounds-<language>.txt.gz: `id: text` lines, `;` before comments; <voice>/<id>.g722. The embedded corpus of egs/mini is made of three
of these languages by tools/build_mini.py.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from m2asr.corpora.debs import file_text, package_files
from m2asr.corpora.debspeech.clips import Clip
from m2asr.corpora.debspeech.sound import decode_g722
from m2asr.corpora.debspeech.spanish import accented

VOICES = {
    "en": "en_US_f_Allison",
    "es": "es_MX_f_Allison",
    "fr": "fr_CA_f_June",
    "it": "it_IT_m_Carlo",
    "ru": "ru_RU_f_IvrvoiceRU",
}
LEFT_OUT = re.compile(r"silence/.*|.*2tone|beep|beeperr|confbridge-(join|leave)|tt-monkeys")  # no speech
DOUBTFUL = {"fr": ["digits/h-80"], "ru": ["letters/at"]}  # the text of another prompt, not translated

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
    "es": {
        "contrasenia": "contraseña",
        "contrasena": "contraseña",
        "manana": "mañana",
        "defeto": "defecto",
        "entidade ": "entidades ",
        "ingese": "ingrese",
        "introdusca": "introduzca",
        "mesaje": "mensaje",
        "mudo mudo": "modo mudo",
        "nimbre": "nombre",
        "numbre": "nombre",
        "paracambiar": "para cambiar",
    },
    "fr": {
        "#": "dièse",
        "*": "étoile",
        "acceuil": "accueil",
        "appellan": "appelan",
        "Aurevoir": "Au revoir",
        "ce tte": "cette",
        "conctact": "contact",
        "connection": "connexion",
        "démontration": "démonstration",
        "étez": "été",
        "millardième": "milliardième",
        "Pous ": "Pour ",
        "présentemnet": "présentement",
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
NEXT_PROMPT = re.compile(r"(\s|(?<=\.))[a-z]+(-[a-z]+)+: .*")  # lines of a list have run into the next ones
SPOKEN = re.compile(r"\[(quello|suo|tentativo di)\]")  # brackets whose words are said, in Italian
NOTES = re.compile(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>")  # notes to the reader that nobody says
LATIN = str.maketrans("aeopcyxABEKMHOPCTX", "аеорсухАВЕКМНОРСТХ")  # look-alikes inside Cyrillic words


def read(debs: dict[str, Path]) -> Iterator[Clip]:
    """The clips of the packages asterisk-core-sounds-<language> and -<language>-g722."""
    texts: dict[str, dict[str, str]] = defaultdict(dict)  # id -> language -> text
    for lang in VOICES:
        for key, text in read_texts(debs[f"asterisk-core-sounds-{lang}"], lang).items():
            texts[key][lang] = text
    for lang, voice in VOICES.items():
        for key, data in read_sounds(debs[f"asterisk-core-sounds-{lang}-g722"], lang).items():
            name = voice.rpartition("_")[2].lower()
            yield Clip("asterisk", key.replace("/", "_"), lang, name, texts[key], partial(decode_g722, data))


def read_texts(deb: Path, lang: str) -> dict[str, str]:
    """{prompt id: repaired text}; ids are in lower case, since the packages disagree on case, and the first of equal ids counts."""
    texts: dict[str, str] = {}
    for file, data in package_files(deb, lambda name: name.endswith(f"/core-sounds-{lang}.txt.gz")):
        for line in file_text(deb, file, data).splitlines():
            name, colon, text = line.partition(":")
            if colon and not line.startswith(";") and re.search(r"\w", text := repair(lang, text)):
                texts.setdefault(name.strip().lower(), text)
    for name in DOUBTFUL.get(lang, ()):
        texts.pop(name, None)
    return texts


def read_sounds(deb: Path, lang: str) -> dict[str, bytes]:
    """{prompt id: G.722 bytes}, without the prompts that are no speech; 8000 bytes are a second."""
    folder = f"usr/share/asterisk/sounds/{VOICES[lang]}/"
    files = package_files(deb, lambda name: name.startswith(folder) and name.endswith(".g722"))
    sounds = {name.removeprefix(folder).removesuffix(".g722").lower(): data for name, data in files}
    return {name: sounds[name] for name in sorted(sounds) if not LEFT_OUT.fullmatch(name)}


def repair(lang: str, text: str) -> str:
    """Repair a prompt to the words that are said, with case and punctuation."""
    text = NEXT_PROMPT.sub("", text)
    if lang == "it":
        for wrong, right in MOJIBAKE.items():
            text = text.replace(wrong, right)
        text = SPOKEN.sub(r"\1", text)
    text = NOTES.sub(" ", text)
    for wrong, right in SPELLING[lang].items():
        text = text.replace(wrong, right)
    if lang == "es":
        text = accented(text)
    if lang == "ru":
        text = re.sub(r"\w*[а-яА-Я]\w*", lambda word: word[0].translate(LATIN), text)
    return re.sub(r"\s+", " ", text).strip()
