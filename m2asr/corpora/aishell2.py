"""AISHELL-2: read Mandarin, 1000 hours recorded by iOS; dev and test by iOS, Android and microphone.

<channel>/{data,dev,test}/{wav.scp,trans.txt,wav/<speaker>/<id>.wav}, tab between id and path or text; only iOS has data/, and the
evaluation sets may lie in AISHELL-DEV-TEST-SET/. Counts: README of Kaldi's egs/aishell2; Du et al. 2018.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from m2asr.corpora.parts import choose_parts, find_root
from m2asr.corpora.sets import CorpusUtterance, with_seconds, write_sets
from m2asr.corpora.summary import Published, Summary
from m2asr.corpora.tables import UniqueIds, transcripts
from m2asr.data.directory import Utterance
from m2asr.text.normalize import normalize

ORIGIN = "AISHELL-2 (aishelltech.com/aishell_2, on application)"
APPLY = (
    "AISHELL-2 is given out on application: at aishelltech.com/aishell_2 for training (iOS/data/), at aishelltech.com/aishell_eval for "
    "AISHELL-DEV-TEST-SET; put both into one folder, and prepare it with: python -m m2asr.bin.prepare aishell2 --corpus FOLDER"
)
EVALUATION = "AISHELL-DEV-TEST-SET"
FOLDERS = {  # set -> its folder
    "train": "iOS/data",
    **{f"{part}_{channel.lower()}": f"{channel}/{part}" for channel in ("iOS", "Android", "Mic") for part in ("dev", "test")},
}
PUBLISHED = {
    name: {"train": Published(hours=1000, speakers=1991), "dev": Published(2500, speakers=5), "test": Published(5000, speakers=10)}[
        name.partition("_")[0]
    ]
    for name in FOLDERS
}


def prepare(corpus: Path, out: Path, parts: Sequence[str] = (), max_bad: int = 0) -> Summary:
    """Write train, dev_ios, test_ios, dev_android, test_android, dev_mic and test_mic; parts are these sets.

    Ids begin with the speakers, IC0001 of IC0001W0001. Raises UserError naming the missing or broken file.
    """
    summary = Summary(PUBLISHED, max_bad, ORIGIN)
    folders = [*FOLDERS.values(), *(f"{EVALUATION}/{folder}" for folder in FOLDERS.values())]
    root = find_root(corpus, ["AISHELL-2"], folders, ORIGIN)

    def folder(name: str) -> Path:
        return next((path for path in (root / FOLDERS[name], root / EVALUATION / FOLDERS[name]) if path.is_dir()), root / FOLDERS[name])

    def fetch(name: str) -> str:
        return f"{FOLDERS[name]} of AISHELL-2" if name == "train" else f"{EVALUATION} ({FOLDERS[name]}) from aishelltech.com/aishell_eval"

    chosen = choose_parts(parts, list(FOLDERS), lambda name: folder(name).is_dir(), fetch, summary)
    summary.expect(chosen, required=bool(parts))
    first_lines: dict[str, tuple[str, str]] = {}  # id -> train, dev or test, and file:line
    utterances = (utterance for name in chosen for utterance in _read_utterances(name, folder(name), first_lines, summary))
    return write_sets(out, with_seconds(utterances, summary), summary)


def _read_utterances(name: str, folder: Path, first_lines: dict[str, tuple[str, str]], summary: Summary) -> Iterator[CorpusUtterance]:
    wavs = {utt: (location, path) for location, utt, path in transcripts(folder / "wav.scp", UniqueIds(summary))}
    named = {path for _, path in wavs.values()}
    for location, utt, text in transcripts(folder / "trans.txt", UniqueIds(summary)):
        if utt not in wavs:
            summary.bad(f"{location}: {utt}: has no line in wav.scp; fetch {folder} again")
            continue
        wav = folder / wavs.pop(utt)[1]
        # The channels record the same sentences, so they may share ids.
        part, first_location = first_lines.setdefault(utt, (name.partition("_")[0], location))
        if not name.startswith(part):
            summary.bad(f"{location}: {utt}: is in {part} too, {first_location}; fetch {folder} again")
            continue
        yield CorpusUtterance(location, (name,), Utterance(utt, utt.rpartition("W")[0], "zh", str(wav), 0.0, normalize(text, "zh")))
    for utt, (location, _) in wavs.items():
        summary.bad(f"{location}: {utt}: has no line in trans.txt; fetch {folder} again")
    for path in sorted((folder / "wav").glob("*/*.wav")):
        if str(path.relative_to(folder)) not in named:
            summary.bad(f"{path}: no line of {folder / 'wav.scp'} names it; fetch {folder} again")
