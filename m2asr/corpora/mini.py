"""mini: the embedded telephone prompts in English, Italian and Russian, one speaker each, with translations between them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import soundfile

from m2asr.corpora.splits import split_groups
from m2asr.corpora.summary import Summary
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
                seconds = soundfile.info(wav).duration
            except (OSError, soundfile.SoundFileError) as error:
                raise UserError(
                    f"{wav}: cannot read this recording of prompt {key} ({error}); restore egs/mini/corpus with git checkout"
                ) from None
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
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        raise UserError(
            f"{path}: not found; --corpus must name the folder with transcripts.tsv and audio/, in egs/mini it is `corpus`"
        ) from None
    header = lines[0].split("\t")
    prompts = {}
    for number, line in enumerate(lines[1:], 2):
        fields = line.split("\t")
        if len(fields) != len(header):
            raise UserError(f"{path}:{number}: {len(fields)} columns, the header has {len(header)}; restore the file with git checkout")
        prompts[fields[0]] = {lang: text for lang, text in zip(header[1:], fields[1:], strict=True) if text}
    return prompts
