"""mini: the embedded telephone prompts in English, Italian and Russian, one speaker each, with translations between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from m2asr.corpora.parts import choose_parts
from m2asr.corpora.sets import CorpusUtterance, with_seconds, write_sets
from m2asr.corpora.splits import split_groups
from m2asr.corpora.summary import Summary
from m2asr.data.directory import Utterance
from m2asr.errors import UserError
from m2asr.text.normalize import normalize

SPEAKERS = {"en": "en_allison", "it": "it_carlo", "ru": "ru_ivrvoice"}
TRAIN, DEV = 70, 80  # percent of the groups: train below 70, dev below 80, test from there


def prepare(corpus: Path, out: Path, parts: Sequence[str] = (), max_bad: int = 0) -> Summary:
    """Write {train,dev,test}_{en,it,ru} under `out`; prompts of equal id or equal text are in the same split, in all languages.

    `parts` are languages. Raises UserError naming the missing file.
    """
    summary = Summary(max_bad=max_bad)
    prompts = _read(corpus / "transcripts.tsv")
    langs = choose_parts(parts, list(SPEAKERS), lambda lang: True, lambda lang: "the repository again", summary)
    summary.expect((f"{split}_{lang}" for lang in langs for split in ("train", "dev", "test")), required=bool(parts))
    return write_sets(out, with_seconds(_read_utterances(corpus, prompts, langs), summary), summary)


def _read_utterances(corpus: Path, prompts: dict[str, dict[str, str]], langs: Sequence[str]) -> Iterator[CorpusUtterance]:
    normalized = {key: {lang: normalize(text, lang) for lang, text in texts.items()} for key, texts in prompts.items()}
    same_text = defaultdict(list)
    for key, texts in normalized.items():
        for lang, text in texts.items():
            same_text[lang, text].append(key)
    splits = split_groups([*([key] for key in prompts), *same_text.values()], TRAIN, DEV)
    for key, texts in prompts.items():
        for lang in (lang for lang in langs if lang in texts):
            name, spoken = key.replace("/", "_"), normalized[key]
            wav = corpus / "audio" / lang / f"{name}.opus"
            # a text that two languages write alike, such as a name, is no translation
            translations = {language: texts[language] for language in texts if language != lang and spoken[language] != spoken[lang]}
            utterance = Utterance(f"{SPEAKERS[lang]}-{name}", SPEAKERS[lang], lang, str(wav), 0.0, spoken[lang], translations)
            yield CorpusUtterance(f"{corpus / 'transcripts.tsv'}: {key}", (f"{splits[key]}_{lang}",), utterance)


def _read(path: Path) -> dict[str, dict[str, str]]:
    """{prompt id: {language: text}}, without languages that have no recording of the prompt."""
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
