"""Checks a data directory and reports all its problems together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from m2asr.config import FbankConfig
from m2asr.data.audio import DURATION_TOLERANCE, read_audio
from m2asr.data.directory import CODE_LENGTHS, is_text_set, may_lack, speakers
from m2asr.data.lines import as_utf8
from m2asr.data.recordings import Segment
from m2asr.data.report import LONG_TEXT, MISSING, WRONG_CODES, Report
from m2asr.errors import UserError
from m2asr.files import open_input, recover
from m2asr.text.language import CODE
from m2asr.text.normalize import normalize

NEEDED = ("wav.scp", "utt2spk", "spk2utt", "utt2lang", "utt2dur")
NEEDED_OF_TEXTS = ("utt2lang",)  # of a set without recordings

Table = dict[str, tuple[int, str]]  # id -> line number, value


def validate(
    folder: str | Path,
    *,
    fbank: FbankConfig | None = None,
    audio: bool = True,
    text: bool = True,
    allow_pipes: bool = False,
    subsampling: int = 4,
    tokenize: Callable[[str], Sequence[object]] = tuple,
    keep_long_text: bool = False,
) -> Report:
    """Check ids, sorting, durations, segments, languages, texts, codes and recordings of a data directory.

    `audio` reads every recording; `text` requires a text for every utterance. `fbank` tells what features need: recordings of their sample
    rate or a higher one, of one channel or with a channel that is chosen, no shorter than a window. `tokenize` (by default into characters)
    gives the tokens of a text; a text is too long if CTC cannot write them in the encoder states of the utterance, one per `subsampling`
    frames. `keep_long_text` reports but tolerates such texts. Raises UserError, exit code 2, if the directory cannot be read at all.
    """
    fbank = fbank or FbankConfig()
    folder = recover(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such data directory; run stage 0 (data) first", exit_code=2)
    report = Report(folder, frozenset({LONG_TEXT} if keep_long_text else ()))
    optional = [path.name for path in folder.iterdir() if path.name in ("text", "segments", "utt2source") or may_lack(path.name)]
    tables: dict[str, Table] = {}
    needed = NEEDED_OF_TEXTS if is_text_set(folder) else NEEDED
    for name in sorted({*needed, *optional, *(["text"] if text else [])}):
        if (folder / name).exists():
            tables[name] = _read(folder, name, report)
        else:
            report.add(MISSING, name, None, "-", "there is no such file")
    reference = "utt2lang" if needed is NEEDED_OF_TEXTS else "utt2spk"
    report.utterances = len(tables.get(reference, {}))
    _check_ids(tables, reference, report)
    _check_speakers(tables, report)
    _check_values(tables, report)
    recordings = _check_recordings(tables, fbank, allow_pipes, report) if audio else {}
    _check_segments(tables, recordings, report)
    _check_durations(tables, recordings, fbank.frame_length, report)
    _check_text_lengths(tables, subsampling * fbank.frame_shift / 1000, tokenize, report)
    _check_codes(tables, report)
    return report


def _read(folder: Path, name: str, report: Report) -> Table:
    """The usable lines of a file; other lines are reported and left out."""
    try:
        with open_input(folder / name) as file:
            data = file.read()
    except (OSError, UserError) as error:
        raise UserError(str(error), exit_code=2) from None
    data, encoding = as_utf8(data)
    if encoding:
        report.add("byte order mark", name, 1, "-", encoding)
    table: Table = {}
    before = b""
    if data and not data.endswith(b"\n"):
        report.add("cut off", name, data.count(b"\n") + 1, "-", "the last line has no end; was the file cut off?")
    for number, raw in enumerate(data.removesuffix(b"\n").split(b"\n") if data else [], 1):
        key, _, value = raw.partition(b" ")
        try:
            utt, text = key.decode("utf-8"), value.decode("utf-8").strip()
        except UnicodeDecodeError:
            report.add("not UTF-8", name, number, key.decode("utf-8", "replace"), "the line is not UTF-8")
            continue
        if len(utt.split()) != 1 or b"\r" in raw:
            report.add("malformed line", name, number, (utt.split() or "-")[0], "write `id value`, one space between, no carriage return")
            continue
        if utt in table:
            report.add("duplicate id", name, number, utt, f"has a line already, line {table[utt][0]}")
            continue
        if key < before:
            report.add("not sorted", name, number, utt, "is out of order in the C locale (LC_ALL=C sort)")
        before = max(before, key)
        table[utt] = (number, text)
    return table


def _check_ids(tables: Mapping[str, Table], reference: str, report: Report) -> None:
    """Check that every file has the same utterances; translations may be missing, and beside segments recordings have their own ids."""
    utterances = tables.get(reference, {})
    if not utterances:
        report.add("missing id", reference, None, "-", "there is no utterance in it")
    for name, table in tables.items():
        if name in ("spk2utt", reference) or (name == "wav.scp" and "segments" in tables):
            continue
        for utt in table.keys() - utterances.keys():
            report.add("unknown id", name, table[utt][0], utt, f"is not in {reference}")
        for utt in () if may_lack(name) else utterances.keys() - table.keys():
            report.add("missing id", reference, utterances[utt][0], utt, f"has no line in {name}")
    for kind in ("unknown id", "missing id"):
        if kind in report.problems:
            report.problems[kind].sort(key=lambda problem: (problem.file, problem.line or 0))


def _check_speakers(tables: Mapping[str, Table], report: Report) -> None:
    utt2spk = {utt: value for utt, (_, value) in tables.get("utt2spk", {}).items()}
    before = ""
    for utt, (line, speaker) in sorted(tables.get("utt2spk", {}).items(), key=lambda row: row[0].encode()):
        if not speaker or len(speaker.split()) > 1:
            report.add("bad speaker", "utt2spk", line, utt, "give one speaker")
        elif not utt.startswith(speaker):
            report.add("id without speaker", "utt2spk", line, utt, f"does not begin with its speaker {speaker}")
        elif speaker.encode() < before.encode():
            message = f"sorted by id, {speaker} comes after {before}; Kaldi wants speakers sorted too, take `-` between speaker and id"
            report.add("id without speaker", "utt2spk", line, utt, message)
        before = max(before, speaker, key=str.encode)
    expected = speakers(utt2spk)
    for speaker, (line, value) in tables.get("spk2utt", {}).items():
        if value != expected.get(speaker):
            report.add("contradiction", "spk2utt", line, speaker, "does not agree with utt2spk")
    for speaker in sorted(expected.keys() - tables["spk2utt"].keys()) if "spk2utt" in tables else ():
        report.add("contradiction", "spk2utt", None, speaker, "is a speaker of utt2spk, but has no line here")


def _check_values(tables: Mapping[str, Table], report: Report) -> None:
    for utt, (line, value) in tables.get("utt2dur", {}).items():
        if not _positive(value):
            report.add("bad duration", "utt2dur", line, utt, f"`{value}` is not a number of seconds above 0")
    for utt, (line, value) in tables.get("utt2lang", {}).items():
        if not CODE.fullmatch(value):
            report.add("bad language", "utt2lang", line, utt, f"`{value}` is not a language code like en or zh-CN")
    langs = {utt: value for utt, (_, value) in tables.get("utt2lang", {}).items() if CODE.fullmatch(value)}
    for name in (name for name in tables if name.startswith("text")):
        for utt, (line, value) in tables[name].items():
            if not value:
                report.add("empty text", name, line, utt, "there are no words")
            elif name == "text" and utt in langs and (normalized := normalize(value, langs[utt])) != value:
                message = f"`{_excerpt(value, normalized)}` should be `{_excerpt(normalized, value)}`"
                report.add("text not normalized", name, line, utt, message)


def _check_recordings(tables: Mapping[str, Table], fbank: FbankConfig, allow_pipes: bool, report: Report) -> dict[str, float]:
    """Check that features can be computed of the recordings; returns the seconds of the readable ones."""
    seconds: dict[str, float] = {}
    channels = _channels(tables)
    for key, (line, wav) in tables.get("wav.scp", {}).items():
        try:
            for channel in channels.get(key, {fbank.channel}):
                wave, rate = read_audio(wav, allow_pipes=allow_pipes, channel=fbank.channel if channel is None else channel)
        except UserError as error:
            report.add("unreadable audio", "wav.scp", line, key, str(error))
            continue
        seconds[key] = len(wave) / rate
        if rate < fbank.sample_rate:
            message = f"{rate} Hz is below the {fbank.sample_rate} Hz of the features; lower sample_rate there, and give --config"
            report.add("sample rate", "wav.scp", line, key, message)
    return seconds


def _channels(tables: Mapping[str, Table]) -> dict[str, set[int | None]]:
    """The channels of every recording that segments name; None where a segment names none."""
    channels: dict[str, set[int | None]] = {}
    for _, value in tables.get("segments", {}).values():
        if segment := _segment(value):
            channels.setdefault(segment.recording, set()).add(segment.channel)
    return channels


def _segment(value: str) -> Segment | None:
    try:
        return Segment.parse(value)
    except ValueError:
        return None


def _check_segments(tables: Mapping[str, Table], recordings: Mapping[str, float], report: Report) -> None:
    wavs = tables.get("wav.scp", {})
    named = set()
    for utt, (line, value) in tables.get("segments", {}).items():
        named.update(value.split()[:1])
        segment = _segment(value)
        if segment is None:
            message = f"`{value}`: write `utterance recording start end`, the end after the start, or -1 for the end of the recording"
            report.add("bad segment", "segments", line, utt, message)
            continue
        recording, start, end, _ = segment
        length = recordings.get(recording, math.inf)
        if recording not in wavs:
            report.add("bad segment", "segments", line, utt, f"its recording {recording} is not in wav.scp")
        elif (end or 0) > length + DURATION_TOLERANCE or start >= length:
            what = f"begins at {start} s" if start >= length else f"ends at {end} s"
            report.add("segment outside", "segments", line, utt, f"{what}, its recording {recording} ends at {length:.2f} s")
    for recording in wavs.keys() - named if "segments" in tables else ():
        report.add("unused recording", "wav.scp", wavs[recording][0], recording, "no segment names it")


def _check_durations(tables: Mapping[str, Table], recordings: Mapping[str, float], window: float, report: Report) -> None:
    """Compare utt2dur with segments, or else with the recordings; find utterances that are shorter than a window of `window` ms."""
    actual = dict(recordings)
    if "segments" in tables:
        parsed = {utt: segment for utt, (_, value) in tables["segments"].items() if (segment := _segment(value))}
        ends = {utt: recordings.get(segment.recording) if segment.end is None else segment.end for utt, segment in parsed.items()}
        actual = {utt: end - parsed[utt].start for utt, end in ends.items() if end is not None}
    durations = {utt: float(value) for utt, (_, value) in tables.get("utt2dur", {}).items() if _positive(value)}
    where = "segments" if "segments" in tables else "wav.scp"
    for utt, (line, _) in tables.get(where, {}).items():
        if 1000 * (length := actual.get(utt, durations.get(utt, math.inf))) < window:
            report.add("too short", where, line, utt, f"{length:.3f} s are shorter than a window of {window:g} ms")
    for utt, (line, value) in tables.get("utt2dur", {}).items():
        if _positive(value) and utt in actual and abs(actual[utt] - float(value)) > DURATION_TOLERANCE:
            source = "its segment" if "segments" in tables else "its recording"
            report.add("wrong duration", "utt2dur", line, utt, f"{value} s here, {source} has {actual[utt]:.2f} s")


def _check_text_lengths(tables: Mapping[str, Table], state: float, tokenize: Callable[[str], Sequence[object]], report: Report) -> None:
    """Find texts too long for CTC, which writes one token per encoder state of `state` seconds, and a blank between equal tokens."""
    durations = tables.get("utt2dur", {})
    for utt, (line, value) in tables.get("text", {}).items():
        seconds = durations.get(utt, (0, ""))[1]
        if _positive(seconds):
            tokens = tokenize(value)
            needed = len(tokens) + sum(token == next_token for token, next_token in pairwise(tokens))
            if needed > (states := int(float(seconds) / state)):
                report.add(LONG_TEXT, "text", line, utt, f"{len(tokens)} tokens need {needed} encoder states, {seconds} s give {states}")


def _check_codes(tables: Mapping[str, Table], report: Report) -> None:
    """Compare text.codes with utt2codes, which says how much audio the codes stand for, and of which codebook they are."""
    codes, durations, codebook = tables.get("text.codes", {}), tables.get("utt2dur", {}), ""
    for utt in codes.keys() - tables[CODE_LENGTHS].keys() if CODE_LENGTHS in tables else ():
        report.add(WRONG_CODES, "text.codes", codes[utt][0], utt, f"has no line in {CODE_LENGTHS}")
    for utt, (line, value) in tables.get(CODE_LENGTHS, {}).items():
        count, seconds, digest = (*value.split(), "", "", "")[:3]
        if not (count.isdecimal() and _positive(seconds) and digest):
            report.add(WRONG_CODES, CODE_LENGTHS, line, utt, "write `utterance count seconds codebook`")
            continue
        codebook = codebook or digest
        duration, written = durations.get(utt, (0, ""))[1], len(codes.get(utt, (0, ""))[1].split())
        covered = int(count) * float(seconds)
        if digest != codebook:
            report.add(WRONG_CODES, CODE_LENGTHS, line, utt, f"its codes are of the codebook {digest}, those before of {codebook}")
        elif _positive(duration) and abs(covered - float(duration)) > 2 * float(seconds) + DURATION_TOLERANCE:
            report.add(WRONG_CODES, CODE_LENGTHS, line, utt, f"{count} codes cover {covered:.2f} s, its audio has {duration} s")
        elif not 0 < written <= int(count):
            report.add(WRONG_CODES, CODE_LENGTHS, line, utt, f"{count} codes here, {written} without repeats in text.codes")


def _number(value: str) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def _positive(value: str) -> bool:
    return _number(value) and float(value) > 0


def _excerpt(text: str, reference: str) -> str:
    """The 40 characters around the first difference of a text from a reference."""
    start = next((i for i, (a, b) in enumerate(zip(text, reference, strict=False)) if a != b), min(len(text), len(reference)))
    first = max(0, start - 20)
    return f"{'...' * (first > 0)}{text[first : start + 20]}{'...' * (start + 20 < len(text))}"
