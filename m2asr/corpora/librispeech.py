"""LibriSpeech: read English books, seven parts.

LibriSpeech/<part>/<speaker>/<chapter>/{<speaker>-<chapter>-<nnnn>.flac, <speaker>-<chapter>.trans.txt}. Hours and speakers: README.TXT of
the corpus (OpenSLR 12) and Panayotov et al. 2015, table 1; utterances: data set card of openslr/librispeech_asr.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from m2asr.corpora.parts import choose_parts, find_root
from m2asr.corpora.sets import Found, with_seconds, write_sets
from m2asr.corpora.summary import Published, Summary
from m2asr.corpora.tables import Once, transcripts
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


def prepare(corpus: Path, out: Path, parts: Sequence[str] = (), max_bad: int = 0) -> Summary:
    """Write a set per part, `train_clean_100` ...; `corpus` is LibriSpeech/ or the folder around it.

    Raises UserError naming what is missing or broken.
    """
    summary = Summary({_set(part): told for part, told in PARTS.items()}, max_bad, ORIGIN)
    root = find_root(corpus, ["LibriSpeech"], list(PARTS), ORIGIN)
    chosen = choose_parts(
        parts, list(PARTS), lambda part: (root / part).is_dir(), lambda part: f"{part}.tar.gz from OpenSLR 12", summary
    )
    return write_sets(out, with_seconds(_found(root, chosen, summary), summary), summary)


def _set(part: str) -> str:
    return part.replace("-", "_")


def _found(root: Path, parts: Sequence[str], summary: Summary) -> Iterator[Found]:
    once = Once(summary)
    for part in parts:
        chapters = sorted(path for path in (root / part).glob("*/*") if path.is_dir())
        if not chapters:
            raise UserError(f"{root / part}: no <speaker>/<chapter>/ in it; extract {part}.tar.gz again")
        for chapter in chapters:
            speaker = chapter.parent.name
            table = chapter / f"{speaker}-{chapter.name}.trans.txt"
            silent = {path.stem for path in chapter.glob("*.flac")}
            for place, utt, text in transcripts(table, once):
                silent.discard(utt)
                if not utt.startswith(f"{speaker}-{chapter.name}-"):
                    summary.bad(f"{place}: {utt}: is no utterance of {speaker}/{chapter.name}; extract {part}.tar.gz again")
                    continue
                one = Utterance(utt, speaker, "en", str(chapter / f"{utt}.flac"), 0.0, normalize(text, "en"))
                yield Found(place, (_set(part),), one)
            for utt in sorted(silent):
                summary.bad(f"{chapter / utt}.flac: no line of {table.name} is about it; extract {part}.tar.gz again")
