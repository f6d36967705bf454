"""TED-LIUM 2: English talks, 207 hours.

TEDLIUM_release2/{train,dev,test}/{sph/<talk>.sph, stm/<talk>.stm}; an STM line is `talk channel speaker start end <label> text`, a comment
begins with `;;`. Hours: Rousseau et al. 2014 (OpenSLR 19); of dev and test: rwth-i6/returnn-experiments (2019-asr-e2e-trafo-vs-lstm/
tedlium2/full-setup/README-dataset.md). Archive: torchaudio 2.11 (datasets/tedlium.py) and tensorflow-datasets 4.9.10
(tedlium/checksums.tsv).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from m2asr.corpora.archives import archive, fetch_archives
from m2asr.corpora.parts import choose_parts, find_root, need, pick_parts
from m2asr.corpora.sets import CorpusUtterance, measured, seconds_of, write_sets
from m2asr.corpora.summary import Published, Summary
from m2asr.corpora.tables import UniqueIds, text_lines
from m2asr.data.directory import Utterance
from m2asr.errors import UserError
from m2asr.text.normalize import normalize

PARTS = {"train": Published(hours=207), "dev": Published(hours=1.6), "test": Published(hours=2.62)}
ARCHIVE = "TEDLIUM_release2.tar.gz (OpenSLR 19)"
ADDRESS = "https://www.openslr.org/resources/19"
PINNED = ("TEDLIUM_release2.tar.gz", 36791529840, "93281b5fcaaae5c88671c9d000b443cb3c7ea3499ad12010b3934ca41a7b9c58")
IGNORED = "ignore_time_segment_in_scoring"
_LABEL = re.compile(r"<(?:o,[^>]*|F0_[MF])>\s*")
_MARKS = re.compile(r"\{[^}]*\}|\[[^]]*\]|<[^>]*>|\([0-9]+\)|\(\S*\)\s*$")
_SUFFIX = re.compile(r"(?<=\w)\s+(?='(?:s|t|m|re|ve|ll|d|all|am|clock)(?!\S))", re.IGNORECASE)


def fetch(out: Path, parts: Sequence[str] = (), mirror: str | None = None, remove: bool = False) -> str:
    """Download and extract its only archive into out/TEDLIUM_release2; `mirror` is an address that has it. Returns a report."""
    pick_parts(parts, ["all"])
    pinned = archive(*PINNED, mirror or ADDRESS, "TEDLIUM_release2", growth=1.5)
    return f"{fetch_archives([pinned], out, remove)}\nto prepare it: --corpus {out / 'TEDLIUM_release2'}"


def prepare(corpus: Path, out: Path, parts: Sequence[str] = (), max_bad: int = 0) -> Summary:
    """Write train, dev and test with segments; `corpus` is TEDLIUM_release2/ or the folder around it.

    Raises UserError naming the missing or broken file.
    """
    summary = Summary(PARTS, max_bad, ARCHIVE)
    releases = [path for path in (corpus, *corpus.glob("TEDLIUM_release*")) if re.search("TEDLIUM_release-?[13]$", path.name)]
    if releases and not (corpus / "TEDLIUM_release2").is_dir():
        raise UserError(f"{releases[0]}: another release of TED-LIUM; fetch {ARCHIVE}")
    root = find_root(corpus, ["TEDLIUM_release2"], list(PARTS), f"TED-LIUM 2, {ARCHIVE}")
    chosen = choose_parts(parts, list(PARTS), lambda part: (root / part).is_dir(), lambda part: ARCHIVE, summary)
    if not parts and len(chosen) < len(PARTS):
        missing = ", ".join(part for part in PARTS if part not in chosen)
        raise UserError(f"{root}: no {missing} in it; extract {ARCHIVE} again, or name the --parts to prepare")
    summary.expect(chosen, required=bool(parts))
    return write_sets(out, _read_utterances(root, chosen, summary), summary)


def spoken(text: str) -> str:
    """The spoken words of an STM text: without {NOISE}, <unk>, <sil>, (2) and a last (talk-id); `it 's` becomes `it's`."""
    return _SUFFIX.sub("", " ".join(_MARKS.sub(" ", text).split()))


def _read_utterances(root: Path, parts: Sequence[str], summary: Summary) -> Iterator[CorpusUtterance]:
    ids = UniqueIds(summary)
    talks: list[tuple[str, Path]] = []
    for part in parts:
        remedy = f"extract {ARCHIVE} again"
        stms = sorted(need(root / part / "stm", remedy).glob("*.stm"))
        if not stms:
            raise UserError(f"{root / part / 'stm'}: no *.stm in it; {remedy}")
        for path in sorted(need(root / part / "sph", remedy).glob("*.sph")):
            if not (root / part / "stm" / f"{path.stem}.stm").exists():
                summary.bad(f"{path}: no {part}/stm/{path.stem}.stm is about it; {remedy}")
        talks += [(part, stm) for stm in stms]
    for (part, stm), length in measured(talks, lambda talk: str(_sph(talk[1]))):
        if isinstance(length, str):
            summary.bad(f"{stm}:1: {length}")
        else:
            yield from _segments(part, stm, length, ids)


def _sph(stm: Path) -> Path:
    return stm.parent.parent / "sph" / f"{stm.stem}.sph"


def _segments(part: str, stm: Path, length: float, ids: UniqueIds) -> Iterator[CorpusUtterance]:
    """The utterances of one talk of `length` seconds."""
    talk, summary = stm.stem, ids.summary
    empty = True
    for number, line in text_lines(stm):
        location = f"{stm}:{number}"
        if not line.strip() or line.startswith(";;"):
            continue
        empty = False
        fields = line.split(None, 5)
        try:
            name, _, speaker = fields[:3]
            start, end = map(float, fields[3:5])
        except ValueError:
            summary.bad(f"{location}: write `talk channel speaker start end <label> text`; extract {ARCHIVE} again")
            continue
        text = _LABEL.sub("", fields[5], count=1) if len(fields) > 5 else ""
        if text.strip() == IGNORED or speaker == "inter_segment_gap":
            summary.drop(IGNORED, location)
        elif name != talk:
            summary.bad(f"{location}: is about {name}, not {talk}; extract {ARCHIVE} again")
        elif (seconds := seconds_of(start, end, length)) is None:
            summary.bad(f"{location}: {start} to {end} s is outside of the recording, which has {length:.2f} s; extract {ARCHIVE} again")
        else:
            speaker_id = speaker if speaker == talk else f"{speaker}-{talk}"
            utt = f"{speaker_id}-{round(100 * start):07d}-{round(100 * end):07d}"
            if ids.add(utt, location):
                normalized = normalize(spoken(text), "en")
                utterance = Utterance(utt, speaker, "en", str(_sph(stm)), seconds, normalized, recording=talk, start=start)
                yield CorpusUtterance(location, (part,), utterance)
    if empty:
        summary.bad(f"{stm}: no segment in it; extract {ARCHIVE} again")
