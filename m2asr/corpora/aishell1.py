"""AISHELL-1: read Mandarin, 178 hours.

data_aishell/wav/{train,dev,test}/S*/BAC009S*W*.wav and data_aishell/transcript/aishell_transcript_v0.8.txt, `id words`. Speakers:
Bu et al. 2017, section 3; utterances: lines of the transcript per set; hours: icefall (egs/aishell/ASR/local/
display_manifest_statistics.py; train is 455.6 at the speeds 0.9, 1 and 1.1). Some recordings have no transcript. Archive: bytes of Kaldi
(egs/aishell/s5/local/download_and_untar.sh), MD5 of PaddleSpeech (dataset/aishell/aishell.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from m2asr.corpora.archives import archive, fetch_archives
from m2asr.corpora.parts import choose_parts, find_root, need, pick_parts
from m2asr.corpora.sets import CorpusUtterance, with_seconds, write_sets
from m2asr.corpora.summary import Published, Summary
from m2asr.corpora.tables import UniqueIds, transcripts
from m2asr.data.directory import Utterance
from m2asr.errors import UserError
from m2asr.text.normalize import normalize

PARTS = {"train": Published(120098, 150.9, 340), "dev": Published(14326, 18.1, 40), "test": Published(7176, 10.0, 20)}
ARCHIVE = "data_aishell.tgz (OpenSLR 33)"
TRANSCRIPT = "aishell_transcript_v0.8.txt"
ADDRESS = "https://www.openslr.org/resources/33"
PINNED = ("data_aishell.tgz", 15582913665, "2f494334227864a8a8fec932999db9d8")


def fetch(out: Path, parts: Sequence[str] = (), mirror: str | None = None, remove: bool = False) -> str:
    """Download and extract its only archive into out/data_aishell; `mirror` is an address that has it. Returns a report."""
    pick_parts(parts, ["all"])
    pinned = archive(*PINNED, mirror or ADDRESS, "data_aishell", growth=1.5)
    return f"{fetch_archives([pinned], out, remove)}\nto prepare it: --corpus {out / 'data_aishell'}"


def prepare(corpus: Path, out: Path, parts: Sequence[str] = (), max_bad: int = 0) -> Summary:
    """Write train, dev and test, and `unlabelled`: the recordings of train that have no transcript.

    `corpus` is data_aishell/ or the folder around it. The speakers are BAC009S0002 ..., so that ids begin with them. Raises UserError
    naming the missing or broken file.
    """
    summary = Summary(PARTS, max_bad, ARCHIVE)
    root = find_root(corpus, ["data_aishell"], ["wav", "transcript"], f"AISHELL-1, {ARCHIVE}")
    texts = _transcripts(root / "transcript", summary)
    wav = need(root / "wav", f"extract or fetch {ARCHIVE} again")
    if unextracted := sorted(path for path in wav.glob("*.tar.gz") if not list(wav.glob(f"*/{path.name[:-7]}"))):
        loop = f"cd {wav} && for f in *.tar.gz; do tar xzf $f; done"
        raise UserError(f"{unextracted[0]}: it is not extracted ({len(unextracted)} such); run: {loop}")
    chosen = choose_parts(parts, list(PARTS), lambda part: (wav / part).is_dir(), lambda part: ARCHIVE, summary)
    if not parts and len(chosen) < len(PARTS):
        missing = ", ".join(part for part in PARTS if part not in chosen)
        raise UserError(f"{wav}: no {missing} in it; extract {ARCHIVE} again, or name the --parts to prepare")
    summary.expect(chosen, required=bool(parts))
    return write_sets(out, with_seconds(_read_utterances(wav, chosen, texts, summary), summary), summary)


def _transcripts(folder: Path, summary: Summary) -> dict[str, tuple[str, str]]:
    """{id: (file:line, text)}."""
    path = folder / TRANSCRIPT
    if not path.is_file() and (versions := sorted(folder.glob("aishell_transcript*.txt"))):
        raise UserError(f"{versions[0]}: an unexpected version of the transcripts; {TRANSCRIPT} is needed, fetch {ARCHIVE}")
    return {utt: (location, text) for location, utt, text in transcripts(path, UniqueIds(summary))}


def _read_utterances(wav: Path, parts: Sequence[str], texts: dict[str, tuple[str, str]], summary: Summary) -> Iterator[CorpusUtterance]:
    ids, unrecorded = UniqueIds(summary), set(texts)
    speakers = set()
    for part in parts:
        for path in sorted((wav / part).glob("*/*.wav")):
            utt = path.stem
            speaker = utt.rpartition("W")[0]  # BAC009S0002 of BAC009S0002W0122
            speakers.add(speaker)
            unrecorded.discard(utt)
            location, text = texts.get(utt, (str(path), None))
            if not speaker.endswith(path.parent.name):
                summary.bad(f"{path}: is no recording of speaker {path.parent.name}; extract {ARCHIVE} again")
            elif text is None and part != "train":
                summary.drop(f"{part} without transcript", utt)
            elif ids.add(utt, str(path)):
                normalized = None if text is None else normalize(text, "zh")
                utterance = Utterance(utt, speaker, "zh", str(path), 0.0, normalized)
                yield CorpusUtterance(location, (part if text else "unlabelled",), utterance)
    for utt in sorted(unrecorded):  # if only some parts are read, only their speakers are expected
        if len(parts) == len(PARTS) or utt.rpartition("W")[0] in speakers:
            summary.bad(f"{texts[utt][0]}: {utt}: there is no recording of it in {wav}; extract {ARCHIVE} again")
