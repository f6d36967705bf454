"""mini: the embedded telephone prompts in English, Italian and Russian, one speaker each, with translations between them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from m2asr.corpora.splits import split_groups
from m2asr.corpora.summary import Summary
from m2asr.data.audio import audio_seconds
from m2asr.data.directory import Utterance, write_data_dir
from m2asr.errors import UserError
from m2asr.text.normalize import normalize

SPEAKERS = {"en": "en_allison", "it": "it_carlo", "ru": "ru_ivrvoice"}
TRAIN, DEV = 70, 80  # percent of the groups: train below 70, dev below 80, test from there


def prepare(corpus: Path, out: Path) -> Summary:
    """Write {train,dev,test}_{en,it,ru} under `out`; prompts of equal id or equal text stay in one part, in all languages.

    Raises UserError naming what is missing of the corpus.
    """
    prompts = _read(corpus / "transcripts.tsv")
    normalized = {key: {lang: normalize(text, lang) for lang, text in texts.items()} for key, texts in prompts.items()}
    same_text = defaultdict(list)
    for key, texts in normalized.items():
        for lang, text in texts.items():
            same_text[lang, text].append(key)
    parts = split_groups([*([key] for key in prompts), *same_text.values()], TRAIN, DEV)

    summary = Summary()
    sets: dict[str, list[Utterance]] = {f"{part}_{lang}": [] for part in ("train", "dev", "test") for lang in SPEAKERS}
    for key, texts in prompts.items():
        for lang in texts:
            wav = corpus / "audio" / lang / f"{key.replace('/', '_')}.opus"
            try:
                seconds = audio_seconds(str(wav))
            except UserError as error:
                raise UserError(f"{error} (the recording of prompt {key}; git checkout restores egs/mini/corpus)") from None
            said = normalized[key]
            # letters, names and the like are written alike in two languages: nothing is translated
            others = {other: texts[other] for other in texts if other != lang and said[other] != said[lang]}
            if not said[lang]:
                summary.drop("nothing left after normalization", f"{lang}/{key}")
                continue
            utt = f"{SPEAKERS[lang]}-{key.replace('/', '_')}"
            sets[f"{parts[key]}_{lang}"].append(Utterance(utt, SPEAKERS[lang], lang, str(wav), seconds, said[lang], others))
    for name, utterances in sets.items():
        write_data_dir(out / name, utterances)
        summary.add(name, utterances)
    return summary


def _read(path: Path) -> dict[str, dict[str, str]]:
    """{prompt id: {language: text}}, without the languages in which there is no recording."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        where = "--corpus must name the folder with transcripts.tsv and audio/, in egs/mini it is `corpus`"
        raise UserError(f"{path}: not found; {where}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; restore the file with git checkout") from None
    header = ["id", *SPEAKERS]
    prompts = {}
    for number, line in enumerate(lines or [""], 1):
        fields = line.split("\t")
        if (number == 1 and fields != header) or len(fields) != len(header):
            raise UserError(f"{path}:{number}: the columns are not {' '.join(header)}; restore the file with git checkout")
        if number > 1:
            prompts[fields[0]] = {lang: text for lang, text in zip(SPEAKERS, fields[1:], strict=True) if text}
    return prompts
