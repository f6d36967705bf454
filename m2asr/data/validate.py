"""Check a data directory and report everything that is wrong with it at once."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import soundfile

from m2asr.data.audio import read_audio
from m2asr.data.directory import speakers
from m2asr.errors import UserError
from m2asr.text.normalize import normalize

NEEDED = ("wav.scp", "utt2spk", "spk2utt", "utt2lang", "utt2dur")
SHOWN = 3  # examples per kind of problem
LONG_TEXT = "text too long"
TOLERANCE = 0.1  # seconds between utt2dur and the recording

Table = dict[str, tuple[int, str]]  # id -> line number, value


@dataclass
class Report:
    """Problems by kind: every one is counted, the first few are shown as file:line: id: what."""

    folder: Path
    found: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    tolerated: frozenset[str] = frozenset()  # kinds that are told but do not make the directory unclean
    utterances: int = 0

    def add(self, kind: str, file: str, line: int | None, utt: str, what: str) -> None:
        """Note one problem."""
        place = f"{self.folder / file}:{line}" if line else str(self.folder / file)
        self.found[kind].append(f"{place}: {utt}: {what}")

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.found.keys() - self.tolerated

    def __str__(self) -> str:
        if not self.found:
            return f"{self.folder}: {self.utterances} utterances, no problem"
        lines = [f"{self.folder}: {sum(map(len, self.found.values()))} problems in {self.utterances} utterances"]
        for kind, messages in self.found.items():
            lines.append(f"{kind}: {len(messages)}{' (tolerated)' if kind in self.tolerated else ''}")
            lines += [f"  {message}" for message in messages[:SHOWN]]
            if len(messages) > SHOWN:
                lines.append(f"  ... and {len(messages) - SHOWN} more")
        if not self.clean:
            lines.append(f"mend it with: python -m m2asr.bin.fix_data_dir {self.folder}")
        return "\n".join(lines)


def validate(
    folder: str | Path,
    *,
    sample_rate: int | None = None,
    audio: bool = True,
    text: bool = True,
    allow_pipes: bool = False,
    subsampling: int = 4,
    frame_shift: float = 10.0,
    count_tokens: Callable[[str], int] = len,
    keep_long_text: bool = False,
) -> Report:
    """Check ids, sorting, durations, segments, languages, texts and recordings of a data directory.

    `audio` opens every recording; `text` demands a text for every utterance; `count_tokens` counts what CTC has to write (characters
    by default) against the encoder states that `subsampling` frames of `frame_shift` ms give; `keep_long_text` tells what is too long,
    but tolerates it. Raises UserError where the directory cannot be read at all.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such data directory; run stage 0 (data) first", exit_code=2)
    report = Report(folder, tolerated=frozenset({LONG_TEXT} if keep_long_text else ()))
    names = sorted(
        {
            *NEEDED,
            *(["text"] if text else []),
            *(path.name for path in folder.glob("text*")),
            *(path.name for path in folder.glob("segments")),
        }
    )
    tables: dict[str, Table] = {}
    for name in names:
        if not (folder / name).is_file():
            report.add("missing file", name, None, "-", "there is no such file")
        else:
            tables[name] = _read(folder, name, report)
    utt2spk = tables.get("utt2spk", {})
    report.utterances = len(utt2spk)
    _check_ids(tables, text, report)
    _check_speakers(tables, report)
    _check_values(tables, report)
    recordings = _check_recordings(tables, sample_rate, allow_pipes, report) if audio else {}
    _check_segments(tables, recordings, report)
    _check_lengths(tables, recordings, subsampling * frame_shift / 1000, count_tokens, report)
    return report


def _read(folder: Path, name: str, report: Report) -> Table:
    """The lines of a file; lines that cannot be used are reported and left out."""
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        raise UserError(f"{folder / name}: cannot read: {error.strerror}", exit_code=2) from None
    table: Table = {}
    before = b""
    if data and not data.endswith(b"\n"):
        report.add("cut off", name, data.count(b"\n") + 1, "-", "the last line has no end; was the file cut off?")
    for number, raw in enumerate(data.splitlines(), 1):
        key, _, value = raw.partition(b" ")
        try:
            utt, text = key.decode("utf-8"), value.decode("utf-8").strip()
        except UnicodeDecodeError:
            report.add("not UTF-8", name, number, key.decode("utf-8", "replace"), "the line is not UTF-8")
            continue
        if not utt or b"\t" in raw:
            report.add("malformed line", name, number, utt.strip() or "-", "write `id value` with one space")
            continue
        if utt in table:
            report.add("duplicate id", name, number, utt, f"stands already in line {table[utt][0]}")
            continue
        if key < before:
            report.add("not sorted", name, number, utt, "stands before its predecessor in the C locale (LC_ALL=C sort)")
        before = max(before, key)
        table[utt] = (number, text)
    return table


def _check_ids(tables: Mapping[str, Table], text: bool, report: Report) -> None:
    """Every file has the same utterances; only translations may be missing."""
    utterances = tables.get("utt2spk", {})
    per_utterance = ["utt2lang", "utt2dur", *(["text"] if text else []), "segments" if "segments" in tables else "wav.scp"]
    for name in per_utterance:
        for utt in utterances.keys() - tables.get(name, {}).keys() if name in tables else ():
            report.add("missing id", name, None, utt, "is in utt2spk but not here")
    for name, table in tables.items():
        if name in ("spk2utt", "utt2spk") or (name == "wav.scp" and "segments" in tables):
            continue
        for utt in table.keys() - utterances.keys():
            report.add("unknown id", name, table[utt][0], utt, "is not in utt2spk")


def _check_speakers(tables: Mapping[str, Table], report: Report) -> None:
    utt2spk = {utt: value for utt, (_, value) in tables.get("utt2spk", {}).items()}
    for utt, (line, speaker) in tables.get("utt2spk", {}).items():
        if not speaker or " " in speaker:
            report.add("bad speaker", "utt2spk", line, utt, "give one speaker")
        elif not utt.startswith(speaker):
            report.add(
                "id without speaker",
                "utt2spk",
                line,
                utt,
                f"does not begin with its speaker {speaker}; sorting by speaker and by utterance differ",
            )
    if "spk2utt" in tables:
        expected = speakers(utt2spk)
        actual = {speaker: value for speaker, (_, value) in tables["spk2utt"].items()}
        for speaker in sorted(expected.keys() | actual.keys()):
            if expected.get(speaker) != actual.get(speaker):
                report.add(
                    "contradiction", "spk2utt", tables["spk2utt"].get(speaker, (None, ""))[0], speaker, "does not agree with utt2spk"
                )


def _check_values(tables: Mapping[str, Table], report: Report) -> None:
    for utt, (line, value) in tables.get("utt2dur", {}).items():
        if not _positive(value):
            report.add("bad duration", "utt2dur", line, utt, f"`{value}` is not a number of seconds above 0")
    for utt, (line, value) in tables.get("utt2lang", {}).items():
        if not (2 <= len(value) <= 8 and value.replace("-", "").isalnum() and value.islower()):
            report.add("bad language", "utt2lang", line, utt, f"`{value}` is not a code like en or zh")
    langs = {utt: value for utt, (_, value) in tables.get("utt2lang", {}).items()}
    for name in (name for name in tables if name.startswith("text")):
        for utt, (line, value) in tables[name].items():
            if not value:
                report.add("empty text", name, line, utt, "there are no words")
            elif name == "text" and utt in langs and normalize(value, langs[utt]) != value:
                report.add("text not normalized", name, line, utt, f"`{value[:60]}` should be `{normalize(value, langs[utt])[:60]}`")


def _check_recordings(tables: Mapping[str, Table], sample_rate: int | None, allow_pipes: bool, report: Report) -> dict[str, float]:
    """Seconds of every recording that can be read to its end."""
    seconds: dict[str, float] = {}
    rates: dict[int, int] = defaultdict(int)
    found: dict[str, tuple[int, int]] = {}
    for utt, (line, wav) in tables.get("wav.scp", {}).items():
        try:
            wave, rate = read_audio(wav, allow_pipes=allow_pipes)
        except (UserError, soundfile.SoundFileError) as error:
            report.add("unreadable audio", "wav.scp", line, utt, str(error))
            continue
        seconds[utt] = len(wave) / rate
        found[utt] = (line, rate)
        rates[rate] += 1
    usual = sample_rate or max(rates, key=lambda rate: rates[rate], default=0)
    for utt, (line, rate) in found.items():
        if rate != usual:
            report.add("sample rate", "wav.scp", line, utt, f"{rate} Hz, not {usual} Hz")
    return seconds


def _check_segments(tables: Mapping[str, Table], recordings: Mapping[str, float], report: Report) -> None:
    wavs = tables.get("wav.scp", {})
    for utt, (line, value) in tables.get("segments", {}).items():
        parts = value.split()
        if len(parts) != 3 or not all(_number(part) for part in parts[1:]):
            report.add("bad segment", "segments", line, utt, "write `utterance recording start end`")
            continue
        start, end = float(parts[1]), float(parts[2])
        if parts[0] not in wavs:
            report.add("bad segment", "segments", line, utt, f"recording {parts[0]} is not in wav.scp")
        elif not 0 <= start < end:
            report.add("bad segment", "segments", line, utt, f"from {start} to {end} s: the end must lie after the start")
        elif parts[0] in recordings and end > recordings[parts[0]] + TOLERANCE:
            report.add("bad segment", "segments", line, utt, f"ends at {end} s, the recording at {recordings[parts[0]]:.2f} s")


def _check_lengths(
    tables: Mapping[str, Table], recordings: Mapping[str, float], state: float, count: Callable[[str], int], report: Report
) -> None:
    """Durations against recordings, and texts against what CTC can write in that time."""
    for utt, (line, value) in tables.get("utt2dur", {}).items():
        if not _positive(value):
            continue
        if "segments" not in tables and utt in recordings and abs(recordings[utt] - float(value)) > TOLERANCE:
            report.add("wrong duration", "utt2dur", line, utt, f"{value} s here, the recording has {recordings[utt]:.2f} s; truncated?")
        text_line, text = tables.get("text", {}).get(utt, (0, ""))
        if count(text) > float(value) / state:
            report.add(
                LONG_TEXT, "text", text_line, utt, f"{count(text)} tokens in {value} s, the encoder gives {float(value) / state:.0f} states"
            )


def _number(value: str) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def _positive(value: str) -> bool:
    return _number(value) and float(value) > 0
