"""WenetSpeech: Mandarin from YouTube and podcasts, 10,005 labelled hours in 22,435.

WenetSpeech.json: {audios: [{aid, path, duration, segments: [{sid, begin_time, end_time, text, confidence, subsets}]}]}, several GB, beside
audio/{train,dev,test_net,test_meeting}/**/*.opus. Hours: README of github.com/wenet-e2e/WenetSpeech. Subset W has weak labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from m2asr.corpora.json_stream import Item, array_items
from m2asr.corpora.parts import choose_parts, find_root
from m2asr.corpora.sets import CorpusUtterance, measured, seconds_of, write_sets
from m2asr.corpora.summary import Published, Summary
from m2asr.corpora.tables import UniqueIds
from m2asr.data.directory import Utterance
from m2asr.errors import UserError
from m2asr.text.normalize import normalize

ORIGIN = "WenetSpeech (wenet-e2e.github.io/WenetSpeech, on application)"
APPLY = (
    "WenetSpeech is given out on application: wenet-e2e.github.io/WenetSpeech sends a password, with which utils/download_wenetspeech.sh "
    "of github.com/wenet-e2e/WenetSpeech fetches it; prepare the folder that holds WenetSpeech.json with: "
    "python -m m2asr.bin.prepare wenetspeech --corpus FOLDER"
)
TABLE = "WenetSpeech.json"
SUBSETS = {"L": "train_l", "M": "train_m", "S": "train_s", "DEV": "dev", "TEST_NET": "test_net", "TEST_MEETING": "test_meeting"}
WEAK = {"W": "train_w"}  # labels of a confidence below 0.95; a set only on request; these segments are always in unlabelled
SETS = SUBSETS | WEAK
FOLDERS = {name: "train" if name.startswith("train") else name for name in SETS.values()} | {"unlabelled": "train"}  # in audio/
PUBLISHED = {
    "train_l": Published(hours=10005),
    "train_m": Published(hours=1000),
    "train_s": Published(hours=100),
    "train_w": Published(hours=2478),
    "dev": Published(hours=20),
    "test_net": Published(hours=23),
    "test_meeting": Published(hours=15),
}
AUDIO_FIELDS = {"aid": str, "path": str, "segments": list}
SEGMENT_FIELDS = {"sid": str, "begin_time": (int, float), "end_time": (int, float), "text": str, "subsets": list}
UNREAD_FIELDS = {"duration", "md5", "source", "tags", "url", "confidence"}
PIECE, SHORTEST = 20.0, 1.0  # seconds of an unlabelled piece at most and at least


class Audio(NamedTuple):
    """A long recording: its line, id, path, and its segments with their lines."""

    line: int
    aid: str
    wav: Path
    segments: list[tuple[int, Mapping]]
    evaluation: bool  # whether any of it is dev or test


def prepare(corpus: Path, out: Path, parts: Sequence[str] = (), max_bad: int = 0) -> Summary:
    """Write train_l, train_m, train_s, dev, test_net, test_meeting and unlabelled with segments; parts are these sets, or train_w.

    Unlabelled are the pieces, at most 20 s long, of training recordings outside of L, M and S, also those of train_w. There are no
    speakers: every recording counts as one speaker. Raises UserError naming the missing or broken file.
    """
    summary = Summary(PUBLISHED, max_bad, ORIGIN)
    root = find_root(corpus, ["WenetSpeech"], [TABLE], ORIGIN)
    folder = {name: root / "audio" / subfolder for name, subfolder in FOLDERS.items()}

    def fetch(name: str) -> str:
        return f"audio/{FOLDERS[name]} with utils/download_wenetspeech.sh of WenetSpeech"

    valid = [name for name in FOLDERS if parts or name not in WEAK.values()]
    chosen = choose_parts(parts, valid, lambda name: folder[name].is_dir(), fetch, summary)
    if not chosen:
        raise UserError(f"--corpus {root}: beside {TABLE} there is no audio/train, nor another folder of audio/; fetch {fetch('train_l')}")
    summary.expect(chosen, required=bool(parts))
    return write_sets(out, _read_utterances(root, set(chosen), summary), summary)


def _read_utterances(root: Path, chosen: set[str], summary: Summary) -> Iterator[CorpusUtterance]:
    table, ids = root / TABLE, UniqueIds(summary)
    audios = (audio for audio in _audios(root, ids) if _sets_of(audio) & chosen)
    for audio, length in measured(audios, lambda audio: str(audio.wav)):
        if isinstance(length, str):
            summary.bad(f"{table}:{audio.line}: {audio.aid}: {length}")
            continue
        for line, segment in audio.segments:
            sets = tuple(SETS[name] for name in segment["subsets"] if SETS.get(name) in chosen)
            if sets and (seconds := seconds_of(segment["begin_time"], segment["end_time"], length)) is None:
                times = f"{segment['begin_time']} to {segment['end_time']} s"
                summary.bad(f"{table}:{line}: {segment['sid']}: {times} is outside of the recording, which has {length:.2f} s")
            elif sets:
                text = normalize(segment["text"], "zh")
                yield CorpusUtterance(f"{table}:{line}", sets, _utterance(audio, segment["sid"], segment["begin_time"], seconds, text))
        if "unlabelled" in chosen and not audio.evaluation:
            for number, (start, seconds) in enumerate(_unlabelled(audio, length)):
                utterance = _utterance(audio, f"{audio.aid}_U{number:05d}", start, seconds, None)
                yield CorpusUtterance(f"{table}:{audio.line}", ("unlabelled",), utterance)
    for subfolder in sorted({FOLDERS[name] for name in chosen}):
        for path in (root / "audio" / subfolder).rglob("*.opus"):
            if path.stem not in ids.locations:
                summary.drop(f"recordings that {TABLE} does not name", str(path))


def _utterance(audio: Audio, utt: str, start: float, seconds: float, text: str | None) -> Utterance:
    return Utterance(utt, audio.aid, "zh", str(audio.wav), seconds, text, recording=audio.aid, start=start)


def _sets_of(audio: Audio) -> set[str]:
    """The sets that need this recording."""
    sets = {SETS[name] for _, segment in audio.segments for name in segment["subsets"] if name in SETS}
    return sets if audio.evaluation else sets | {"unlabelled"}


def _unlabelled(audio: Audio, length: float) -> Iterator[tuple[float, float]]:
    """Start and length in seconds of pieces of at most PIECE seconds that no labelled segment covers."""
    labelled = [segment for _, segment in audio.segments if SUBSETS.keys() & set(segment["subsets"])]
    position = 0.0
    for start, end in [*sorted((segment["begin_time"], segment["end_time"]) for segment in labelled), (length, length)]:
        while start - position >= SHORTEST:
            seconds = min(PIECE, start - position)
            yield position, seconds
            position += seconds
        position = max(position, end)


def _audios(root: Path, ids: UniqueIds) -> Iterator[Audio]:
    """The recordings in turn; one without a field, or with a repeated id, is bad; unknown fields and subsets are noted."""
    table, summary = root / TABLE, ids.summary
    unknown: set[str] = set()
    for item in array_items(table, "audios"):
        audio, location = item.value, f"{table}:{item.line}"
        if problem := _lacking(audio, AUDIO_FIELDS):
            summary.bad(f"{location}: {problem}; fetch {TABLE} again")
        elif ids.add(audio["aid"], location):
            segments = list(_segments(table, item, unknown, summary))
            _note_unknown("field", audio.keys() - AUDIO_FIELDS.keys() - UNREAD_FIELDS, location, unknown, summary)
            subsets = {name for _, segment in segments for name in segment["subsets"]}
            evaluation = bool(subsets & {"DEV", "TEST_NET", "TEST_MEETING"}) or not audio["path"].startswith("audio/train/")
            yield Audio(item.line, audio["aid"], root / audio["path"], segments, evaluation)


def _segments(table: Path, item: Item, unknown: set[str], summary: Summary) -> Iterator[tuple[int, Mapping]]:
    """Line and fields of the segments of a recording."""
    aid, ids = item.value["aid"], UniqueIds(summary)
    line, position = item.line, 0
    for segment in item.value["segments"]:
        if isinstance(segment, dict) and "sid" in segment:  # its line in the file is that of the next id
            offset = item.source.find('"sid"', position)
            line, position = line + item.source.count("\n", position, offset), offset + 1
        location = f"{table}:{line}"
        if problem := _lacking(segment, SEGMENT_FIELDS):
            summary.bad(f"{location}: {problem}; fetch {TABLE} again")
        elif not all(isinstance(name, str) for name in segment["subsets"]):
            summary.bad(f"{location}: {segment['sid']}: `subsets` holds {segment['subsets']}, not names; fetch {TABLE} again")
        elif not segment["sid"].startswith(aid):
            summary.bad(f"{location}: {segment['sid']}: is no segment of {aid}; fetch {TABLE} again")
        elif ids.add(segment["sid"], location):
            _note_unknown("field", segment.keys() - SEGMENT_FIELDS.keys() - UNREAD_FIELDS, location, unknown, summary)
            _note_unknown("subset", set(segment["subsets"]) - SETS.keys(), location, unknown, summary)
            yield line, segment


def _lacking(value: object, fields: Mapping[str, type | tuple[type, ...]]) -> str | None:
    """A message if an object of the JSON file lacks a field, otherwise None."""
    if not isinstance(value, dict):
        return f"{str(value)[:40]} where an object with {', '.join(fields)} is expected"
    wrong = [name for name, kind in fields.items() if not isinstance(value.get(name), kind)]
    return f"the field `{wrong[0]}` is missing or of another type" if wrong else None


def _note_unknown(kind: str, names: set[str], location: str, unknown: set[str], summary: Summary) -> None:
    for name in sorted(names - unknown):
        unknown.add(name)
        summary.note(f"{location}: {kind} `{name}` is not known and not read; it is perhaps another version of {TABLE}")
