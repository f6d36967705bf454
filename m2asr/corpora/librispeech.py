"""LibriSpeech: read English books, seven parts.

LibriSpeech/<part>/<speaker>/<chapter>/{<speaker>-<chapter>-<nnnn>.flac, <speaker>-<chapter>.trans.txt}. Hours and speakers: README.TXT of
the corpus (OpenSLR 12) and Panayotov et al. 2015, table 1; utterances: data set card of openslr/librispeech_asr; archives: torchaudio 2.11
(datasets/librispeech.py) and tensorflow-datasets 4.9.10 (librispeech/checksums.tsv).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from m2asr.corpora.archives import archive, fetch_archives
from m2asr.corpora.parts import choose_parts, find_root, pick_parts
from m2asr.corpora.sets import CorpusUtterance, with_seconds, write_sets
from m2asr.corpora.summary import Published, Summary
from m2asr.corpora.tables import UniqueIds, transcripts
from m2asr.data.directory import Utterance
from m2asr.errors import UserError
from m2asr.text.normalize import normalize

ORIGIN = "LibriSpeech (OpenSLR 12)"
PARTS = {
    "train-clean-100": Published(28539, 100.6, 251),
    "train-clean-360": Published(104014, 363.6, 921),
    "train-other-500": Published(148688, 496.7, 1166),
    "dev-clean": Published(2703, 5.4, 40),
    "dev-other": Published(2864, 5.3, 33),
    "test-clean": Published(2620, 5.4, 40),
    "test-other": Published(2939, 5.1, 33),
}
ADDRESS = "https://www.openslr.org/resources/12"
ARCHIVES = {  # bytes, SHA-256
    "train-clean-100": (6387309499, "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2"),
    "train-clean-360": (23049477885, "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf"),
    "train-other-500": (30593501606, "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2"),
    "dev-clean": (337926286, "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3"),
    "dev-other": (314305928, "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365"),
    "test-clean": (346663984, "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23"),
    "test-other": (328757843, "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29"),
}


def fetch(out: Path, parts: Sequence[str] = (), mirror: str | None = None, remove: bool = False) -> str:
    """Download and extract the parts, or all, into out/LibriSpeech; `mirror` is an address that has the archives. Returns a report."""
    chosen = pick_parts(parts, list(PARTS))
    archives = [archive(f"{part}.tar.gz", *ARCHIVES[part], mirror or ADDRESS, f"LibriSpeech/{part}", growth=1.1) for part in chosen]
    return f"{fetch_archives(archives, out, remove)}\nto prepare it: --corpus {out / 'LibriSpeech'}"


def prepare(corpus: Path, out: Path, parts: Sequence[str] = (), max_bad: int = 0) -> Summary:
    """Write a set per part, `train_clean_100` ...; `corpus` is LibriSpeech/ or the folder around it.

    Raises UserError naming the missing or broken file.
    """
    summary = Summary({_set(part): counts for part, counts in PARTS.items()}, max_bad, ORIGIN)
    root = find_root(corpus, ["LibriSpeech"], list(PARTS), ORIGIN)
    chosen = choose_parts(parts, list(PARTS), lambda part: (root / part).is_dir(), lambda part: f"{part}.tar.gz from OpenSLR 12", summary)
    summary.expect(map(_set, chosen), required=bool(parts))
    return write_sets(out, with_seconds(_read_utterances(root, chosen, summary), summary), summary)


def _set(part: str) -> str:
    return part.replace("-", "_")


def _read_utterances(root: Path, parts: Sequence[str], summary: Summary) -> Iterator[CorpusUtterance]:
    ids = UniqueIds(summary)
    for part in parts:
        chapters = sorted(path for path in (root / part).glob("*/*") if path.is_dir())
        if not chapters:
            raise UserError(f"{root / part}: no <speaker>/<chapter>/ in it; extract {part}.tar.gz again")
        for chapter in chapters:
            speaker = chapter.parent.name
            table = chapter / f"{speaker}-{chapter.name}.trans.txt"
            untranscribed = {path.stem for path in chapter.glob("*.flac")}
            for location, utt, text in transcripts(table, ids):
                untranscribed.discard(utt)
                if not utt.startswith(f"{speaker}-{chapter.name}-"):
                    summary.bad(f"{location}: {utt}: is no utterance of {speaker}/{chapter.name}; extract {part}.tar.gz again")
                    continue
                utterance = Utterance(utt, speaker, "en", str(chapter / f"{utt}.flac"), 0.0, normalize(text, "en"))
                yield CorpusUtterance(location, (_set(part),), utterance)
            for utt in sorted(untranscribed):
                summary.bad(f"{chapter / utt}.flac: no line of {table.name} is about it; extract {part}.tar.gz again")
