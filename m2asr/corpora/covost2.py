"""CoVoST 2: translations of Common Voice 4 from English into 15 languages and from 21 languages into English.

<language>/{validated.tsv, other.tsv, clips/*.mp3} of Common Voice (client_id, path, sentence, ...), covost_v2.<source>_<target>.tsv (path,
translation, split) beside the languages or in them. Splits as get_covost_splits.py of github.com/facebookresearch/covost makes them;
counts: data set card of facebook/covost2.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from m2asr.config import nearest
from m2asr.corpora.parts import need
from m2asr.corpora.sets import Found, with_seconds, write_sets
from m2asr.corpora.summary import Published, Summary
from m2asr.corpora.tables import Once, tsv_rows
from m2asr.data.directory import Utterance
from m2asr.errors import UserError
from m2asr.text.normalize import normalize

COUNTS = {  # source language: utterances of train, dev and test, the same for every target
    **{"en": (289430, 15531, 15531), "fr": (207374, 14760, 14760), "de": (127834, 13511, 13511), "ca": (95854, 12730, 12730)},
    **{"es": (79015, 13221, 13221), "fa": (53949, 3445, 3445), "it": (31698, 8940, 8951), "ru": (12112, 6110, 6300)},
    **{"pt": (9158, 3318, 4023), "zh-CN": (7085, 4843, 4898), "nl": (7108, 1699, 1699), "tr": (3966, 1624, 1629)},
    **{"et": (1782, 1576, 1571), "mn": (2067, 1761, 1759), "ar": (2283, 1758, 1695), "sv-SE": (2160, 1349, 1595)},
    **{"lv": (2337, 1125, 1629), "sl": (1843, 509, 360), "ta": (1358, 384, 786), "ja": (1119, 635, 684), "id": (1243, 792, 844)},
    "cy": (1241, 690, 690),
}
INTO = ("de", "tr", "fa", "sv-SE", "mn", "zh-CN", "cy", "ca", "sl", "et", "id", "ar", "ta", "lv", "ja")
PAIRS = [*(f"en_{target}" for target in INTO), *(f"{source}_en" for source in COUNTS if source != "en")]
SPLITS = {"train": "train", "train_covost": "train", "dev": "dev", "test": "test"}
ORIGIN = "covost_v2.*.tsv (github.com/facebookresearch/covost) and Common Voice 4"
RELEASE = "cv-corpus-4-2019-12-10"


class Clip(NamedTuple):
    """A clip as CoVoST 2 knows it: where it was first named, its set, {target language: translation}."""

    place: str
    split: str
    translations: dict[str, str]


def prepare(corpus: Path, out: Path, parts: Sequence[str] = (), max_bad: int = 0) -> Summary:
    """Write train_de, dev_de, test_de with text.en, likewise for the other source languages, and unlabelled_de; parts are pairs (de_en).

    A set has a text.<target> per pair of its source language. Unlabelled are the clips of validated.tsv and other.tsv that CoVoST 2 does
    not use, without those of any speaker whose clips are dev or test in some pair or in Common Voice itself. The speaker is the client_id.
    Raises UserError naming what is missing or broken.
    """
    splits = ("train", "dev", "test")
    told = {f"{split}_{_code(lang)}": Published(n) for lang, row in COUNTS.items() for split, n in zip(splits, row, strict=True)}
    summary = Summary(told, max_bad, ORIGIN)
    tables = _tables(corpus)
    for source in COUNTS:
        if (corpus / source / "clips").is_dir() and not any(pair.startswith(f"{source}_") for pair in tables):
            summary.note(f"{corpus / source}: Common Voice without translations; to have it, fetch covost_v2.{source}_en.tsv")
    for pair in parts:
        if pair not in tables:
            raise UserError(f"--parts {pair}: {corpus} has no covost_v2.{pair}.tsv; fetch it, or {nearest(pair, tables)}")
    sources: dict[str, dict[str, Path]] = defaultdict(dict)
    for pair in parts or tables:
        source, target = pair.split("_")
        sources[source][target] = tables[pair]
    folders = {source: _voices(corpus, source, pairs) for source, pairs in sources.items()}
    every = {source: [table for pair, table in tables.items() if pair.startswith(f"{source}_")] for source in sources}
    found = (one for source, pairs in sources.items() for one in _found(source, folders[source], pairs, every[source], summary))
    return write_sets(out, with_seconds(found, summary), summary)


def _code(language: str) -> str:
    """zh of zh-CN: utt2lang has languages, not countries."""
    return language.partition("-")[0]


def _tables(corpus: Path) -> dict[str, Path]:
    """{pair: its TSV}, in the order of PAIRS."""
    names = {f"covost_v2.{pair}.tsv": pair for pair in PAIRS}
    found = {names[path.name]: path for path in [*corpus.glob("*/covost_v2.*.tsv"), *corpus.glob("covost_v2.*.tsv")] if path.name in names}
    if not found:
        first = "; covost.*.tsv is version 1" if [*corpus.glob("covost.*.tsv"), *corpus.glob("*/covost.*.tsv")] else ""
        packed = "; extract covost_v2.*.tsv.tar.gz" if list(corpus.rglob("covost_v2.*.tar.gz")) else ""
        raise UserError(f"--corpus {corpus}: no covost_v2.<source>_<target>.tsv in it or one folder below{first}{packed}; fetch them from "
                        "github.com/facebookresearch/covost")  # fmt: skip
    return {pair: found[pair] for pair in PAIRS if pair in found}


def _voices(corpus: Path, source: str, pairs: Mapping[str, Path]) -> Path:
    """The folder of a Common Voice language."""
    fetch = f"fetch {source} of Common Voice 4 ({RELEASE}) into {corpus / source}"
    places = [corpus / source, corpus / RELEASE / source, *(path.parent for path in pairs.values())]
    folder = next((place for place in places if (place / "validated.tsv").exists()), None)
    if folder is None:
        if others := [path for path in corpus.glob(f"cv-corpus-*/{source}") if path.parent.name != RELEASE]:
            raise UserError(f"{others[0]}: another version of Common Voice, CoVoST 2 is built on version 4; {fetch}")
        raise UserError(f"{corpus / source / 'validated.tsv'}: not found; {fetch}")
    need(folder / "clips", fetch)
    return folder


def _found(source: str, folder: Path, pairs: Mapping[str, Path], every: Sequence[Path], summary: Summary) -> Iterator[Found]:
    """The clips of a source language; `every` are its tables, `pairs` those of the targets that are wanted."""
    lang, once = _code(source), Once(summary)
    clips, evaluation = _clips(pairs, summary), _evaluation(folder, every, summary)
    speakers: set[str] = set()  # of dev and test
    left: list[tuple[str, str, str]] = []  # file:line, client_id and path of clips that CoVoST 2 does not use
    for place, row in _voice_rows(folder / "validated.tsv", once, summary):
        speaker, path = row["client_id"], row["path"]
        if path in evaluation:
            speakers.add(speaker)
        clip = clips.pop(path, None)
        if clip is None:
            left.append((place, speaker, path))
        elif not row["sentence"].strip():
            summary.bad(f"{place}: the column `sentence` of {path} is empty; fetch Common Voice 4 again")
        else:
            said = normalize(row["sentence"], lang)
            yield Found(place, (f"{clip.split}_{lang}",), _utterance(folder, speaker, path, lang, said, clip.translations))
    for path, clip in clips.items():
        summary.bad(f"{clip.place}: {path}: {folder / 'validated.tsv'} does not have it; CoVoST 2 needs Common Voice 4 ({RELEASE})")
    if (folder / "other.tsv").exists():
        left += [(place, row["client_id"], row["path"]) for place, row in _voice_rows(folder / "other.tsv", once, summary)]
    speakers |= {speaker for _, speaker, path in left if path in evaluation}
    for clip in (folder / "clips").iterdir():
        if clip.name not in once.places:
            summary.drop("clips that neither validated.tsv nor other.tsv names", clip.name)
    for place, speaker, path in left:
        if speaker not in speakers and path not in evaluation:
            yield Found(place, (f"unlabelled_{lang}",), _utterance(folder, speaker, path, lang, None, {}))
        else:
            summary.drop("of a speaker of dev or test, so not in unlabelled", path)


def _utterance(folder: Path, speaker: str, path: str, lang: str, text: str | None, translations: dict[str, str]) -> Utterance:
    wav = folder / "clips" / path
    return Utterance(f"{speaker}-{wav.stem}", speaker, lang, str(wav), 0.0, text, translations)


def _voice_rows(table: Path, once: Once, summary: Summary) -> Iterator[tuple[str, dict[str, str]]]:
    """file:line and columns of the clips of a Common Voice table; those without path or speaker, or with a path met before, are bad."""
    for place, row in tsv_rows(table, ("client_id", "path", "sentence"), summary):
        if empty := [name for name in ("client_id", "path") if not re.fullmatch(r"\S+", row[name])]:
            summary.bad(f"{place}: the column `{empty[0]}` is empty or holds a space; fetch Common Voice 4 again")
        elif once.first(row["path"], place):
            yield place, row


def _evaluation(folder: Path, tables: Sequence[Path], summary: Summary) -> set[str]:
    """The paths of all clips that are dev or test in a table of CoVoST or in Common Voice."""
    rows = (row for table in tables for _, row in tsv_rows(table, ("path", "split"), summary))
    told = {row["path"] for row in rows if row["split"].startswith(("dev", "test"))}
    own = [folder / name for name in ("dev.tsv", "test.tsv") if (folder / name).exists()]
    return told | {row["path"] for table in own for _, row in tsv_rows(table, ("path",), summary)}


def _clips(pairs: Mapping[str, Path], summary: Summary) -> dict[str, Clip]:
    """{path: clip} of what CoVoST 2 uses."""
    clips: dict[str, Clip] = {}
    for target, table in pairs.items():
        once = Once(summary)
        for place, row in tsv_rows(table, ("path", "translation", "split"), summary):
            path, split = row["path"], SPLITS.get(row["split"])
            empty = [name for name in ("path", "split", "translation") if not row[name].strip()]
            if empty and (split or empty[0] != "translation"):
                summary.bad(f"{place}: the column `{empty[0]}` is empty; fetch {table.name}.tar.gz again")
            elif split is None:
                summary.drop(f"in no split of CoVoST 2 (`{row['split']}`)", path)
            elif once.first(path, place):
                clip = clips.setdefault(path, Clip(place, split, {}))
                if clip.split != split:
                    summary.bad(f"{place}: {path} is in {split} here and in {clip.split} in {clip.place}; fetch both tables again")
                else:
                    clip.translations[_code(target)] = " ".join(row["translation"].split())
    return clips
