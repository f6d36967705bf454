"""Multilingual LibriSpeech: read books in eight languages.

mls_<language>[_opus]/{train,dev,test}/{transcripts.txt, audio/<speaker>/<book>/<speaker>_<book>_<n>.flac or .opus}, tab between id and
text; train/limited_supervision/{9hr/handles.txt, 1hr/{0..5}/handles.txt} list ids. Hours: README of the corpus (OpenSLR 94); utterances:
data set card of facebook/multilingual_librispeech, for English the lines of train/transcripts.txt; archives: datasets 1.18.4
(multilingual_librispeech/dataset_infos.json).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from m2asr.corpora.archives import COMPLETE, archive, fetch_archives
from m2asr.corpora.download import published_md5
from m2asr.corpora.parts import find_root, need, pick_parts
from m2asr.corpora.sets import CorpusUtterance, with_seconds, write_sets
from m2asr.corpora.summary import Published, Summary
from m2asr.corpora.tables import UniqueIds, text_lines, transcripts
from m2asr.data.directory import Utterance
from m2asr.errors import UserError
from m2asr.text.normalize import normalize

ORIGIN = "Multilingual LibriSpeech (OpenSLR 94)"
LANGUAGES = {
    "english": "en",
    "german": "de",
    "dutch": "nl",
    "french": "fr",
    "spanish": "es",
    "italian": "it",
    "portuguese": "pt",
    "polish": "pl",
}
SETS = ("train", "dev", "test", "train_9h", "train_1h")
COUNTS = {  # utterances of SETS; hours of train, dev, test
    "en": ((10808037, None, None, None, None), (44659.74, 15.75, 15.55)),
    "de": ((469942, 3469, 3394, 2194, 241), (1966.51, 14.28, 14.29)),
    "nl": ((374287, 3095, 3075, 2153, 234), (1554.24, 12.76, 12.76)),
    "fr": ((258213, 2416, 2426, 2167, 241), (1076.58, 10.07, 10.07)),
    "es": ((220701, 2408, 2385, 2110, 233), (917.68, 9.99, 10.00)),
    "it": ((59623, 1248, 1262, 2173, 240), (247.38, 5.18, 5.27)),
    "pt": ((37533, 826, 871, 2116, 236), (160.96, 3.64, 3.74)),
    "pl": ((25043, 512, 520, 2173, 238), (103.65, 2.08, 2.14)),
}
ADDRESS = "https://dl.fbaipublicfiles.com/mls"
ARCHIVES = {  # bytes, SHA-256; the server lists MD5s of the others, English and all of Opus, in md5sum.txt
    "german": (122944886305, "cea7912396a33cc599f86221f612a2eb1004b98ece3f60124710555eb5134b5c"),
    "dutch": (92158429530, "f2c4b3deb5b918786c1819bc907adac8dd01413478bf3e51f3021aa66cc5a692"),
    "french": (64474642518, "6e02cd822be42067a9b2b79dff65b4421295686471f16efde226baae4e7c7033"),
    "spanish": (53296894035, "3cd4b1e8f40499d5a8b2834a1cc679a4673df5acb25bfd0ded1742ec451bc2f0"),
    "italian": (15395281399, "cfb0a5cc22e6e25982c7ee235fd068c1756901ab9e1cbb97bf18f0583e771902"),
    "portuguese": (9982803818, "89bed1e0ba5acb6f69da14e7063d4a3c3999d13c11af50ae652a3ced80f39164"),
    "polish": (6609569551, "f911a08c4019891cc85b08995dc0f171e16d201037c02f69023beecef5b51d61"),
}


def fetch(out: Path, parts: Sequence[str] = (), mirror: str | None = None, remove: bool = False) -> str:
    """Download and extract parts, which are languages as FLAC (italian) or Opus (italian_opus); `mirror` is an address that has them.

    Raises the UserErrors of `fetch_archives`, and UserError for an unknown part, or if no part is named.
    """
    valid = [*LANGUAGES, *(f"{language}_opus" for language in LANGUAGES)]
    if not parts:
        raise UserError(f"--parts: name what you want of MLS, English alone has 2.4 TB, as Opus 651 GB: {' '.join(valid)}", exit_code=2)
    chosen, folder = pick_parts(parts, valid), mirror or ADDRESS
    unpinned = any(part not in ARCHIVES and not (out / f"mls_{part}" / COMPLETE).exists() for part in chosen)
    listed = published_md5(f"{folder}/md5sum.txt") if unpinned else {}
    names = {part: f"mls_{part}.tar.gz" for part in chosen}
    pinned = {part: ARCHIVES.get(part, (None, listed.get(names[part], ""))) for part in chosen}
    archives = [archive(names[part], *pinned[part], folder, f"mls_{part}", growth=1.1) for part in chosen]
    return f"{fetch_archives(archives, out, remove)}\nto prepare it: --corpus {out}"


def prepare(corpus: Path, out: Path, parts: Sequence[str] = (), max_bad: int = 0) -> Summary:
    """Write train_de, dev_de, test_de, train_9h_de and train_1h_de, likewise for the other languages; parts are languages (german).

    train_1h joins the six folds of 10 minutes; it and train_9h are subsets of train that do not overlap. Ids are written
    speaker-book-number, with `-` for `_`, so that they sort as their speakers do. Raises UserError naming the missing or broken file.
    """
    published = {
        f"{name}_{lang}": Published(utterances, hours)
        for lang, (numbers, hours) in COUNTS.items()
        for name, utterances, hours in zip(SETS, numbers, (*hours, 9, 1), strict=True)
    }
    summary = Summary(published, max_bad, ORIGIN)
    languages = [language for language in LANGUAGES if corpus.name in _names(language)]  # if `corpus` is the folder of a language
    root, parts = (corpus.parent, parts or languages) if languages else (corpus, parts)
    names = [name for language in LANGUAGES for name in _names(language)]
    root = find_root(root, ["mls"], names, f"{ORIGIN}, the one around mls_<language>")
    folders = {}
    for language in parts or LANGUAGES:
        if language not in LANGUAGES:
            raise UserError(f"--parts {language}: no language of MLS; valid: {', '.join(LANGUAGES)}", exit_code=2)
        present = [root / name for name in _names(language) if (root / name).is_dir()]
        if present:
            folders[LANGUAGES[language]] = present[0]
        elif parts:
            raise UserError(f"--parts {language}: {root} has no mls_{language}; fetch mls_{language}.tar.gz or mls_{language}_opus.tar.gz")
    summary.expect((f"{name}_{lang}" for lang in folders for name in SETS), required=bool(parts))
    corpus_utterances = (utterance for lang, folder in folders.items() for utterance in _read_utterances(lang, folder, summary))
    return write_sets(out, with_seconds(corpus_utterances, summary), summary)


def _names(language: str) -> tuple[str, str]:
    return f"mls_{language}", f"mls_{language}_opus"


def _read_utterances(lang: str, folder: Path, summary: Summary) -> Iterator[CorpusUtterance]:
    archive = f"{folder.name}.tar.gz (OpenSLR 94)"
    for split in ("train", "dev", "test"):
        need(folder / split / "transcripts.txt", f"extract or fetch {archive} again")
    ids, limited = UniqueIds(summary), _limited(folder / "train/limited_supervision", archive, summary)
    for split in ("train", "dev", "test"):
        for location, name, text in transcripts(folder / split / "transcripts.txt", ids):
            speaker, _, rest = name.partition("_")
            book, _, number = rest.partition("_")
            if not number:
                summary.bad(f"{location}: {name}: is not written <speaker>_<book>_<number>; fetch {archive} again")
                continue
            flac = folder / split / "audio" / speaker / book / f"{name}.flac"
            wav = flac if flac.exists() else flac.with_suffix(".opus")
            sets = [split, *(limited.pop(name, ("", ""))[1:] if split == "train" else ())]
            utterance = Utterance(name.replace("_", "-"), speaker, lang, str(wav), 0.0, normalize(text, lang))
            yield CorpusUtterance(location, tuple(f"{set_name}_{lang}" for set_name in sets if set_name), utterance)
        for path in (folder / split / "audio").glob("*/*/*.*"):  # millions, so they are not sorted
            if path.stem not in ids.locations:
                summary.bad(f"{path}: no line of {folder / split / 'transcripts.txt'} is about it; fetch {archive} again")
    for name, (location, _) in limited.items():
        summary.bad(f"{location}: {name}: no line of {folder / 'train/transcripts.txt'} is about it; fetch {archive} again")


def _limited(folder: Path, archive: str, summary: Summary) -> dict[str, tuple[str, str]]:
    """{id: (file:line, train_9h or train_1h)}; a repeated id in the lists is bad."""
    limited: dict[str, tuple[str, str]] = {}
    ids = UniqueIds(summary)
    for name, lists in (("train_9h", ["9hr"]), ("train_1h", [f"1hr/{fold}" for fold in range(6)])):
        for folder_name in lists:
            path = need(folder / folder_name / "handles.txt", f"extract or fetch {archive} again")
            for number, line in text_lines(path):
                location, utt = f"{path}:{number}", line.strip()
                if utt and ids.add(utt, location):
                    limited[utt] = (location, name)
    return limited
