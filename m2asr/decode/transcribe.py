"""Transcribe recordings one after the other: print and write each when it is done, go on after those that cannot be read."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from m2asr.data.recording import Recording, recordings
from m2asr.decode.transcriber import Transcriber
from m2asr.decode.transcript import Transcript
from m2asr.decode.transcript_files import output_names, text_lines, write_transcript
from m2asr.errors import UserError
from m2asr.progress import visible

BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f} of {total:.0f} s [{elapsed}<{remaining}]"


def collect(paths: Iterable[Path]) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Every recording that files and folders name, once, with its path in its folder; and what is wrong with the other names."""
    found: dict[Path, Path] = {}
    problems = []
    for path in paths:
        try:
            for file, relative in recordings(path):
                found.setdefault(file, relative)
        except UserError as error:
            problems.append(str(error))
    return list(found.items()), problems


def transcribe(
    transcriber: Transcriber,
    found: Sequence[tuple[Path, Path]],
    out: Path,
    formats: Sequence[str],
    lang: str | None = None,
    to: str | None = None,
) -> list[Path]:
    """Transcribe recordings, given with their paths in their folders; returns those that failed or end too early.

    A recording's files appear when it is done, each as a whole. Raises UserError, before anything is read, where no head reads the
    language, or none is given and nothing tells it.
    """
    if (known := lang or transcriber.language(to)) is not None:
        transcriber.choose(known, to)
    names = output_names(found)
    failed = []
    total = _seconds(path for path, _ in found)
    with tqdm(total=total, desc="transcribe", disable=not visible(), bar_format=BAR) as bar:
        for path, _ in found:
            try:
                transcript = transcriber(path, lang, to, bar.update)
            except UserError as error:
                bar.write(f"error: {error}", file=sys.stderr)
                failed.append(path)
                continue
            write_transcript(transcript, out / names[path], formats)
            _tell(transcript, bar, named=len(found) > 1 or to is not None)
            if not transcript.whole:
                failed.append(path)
    return failed


def _tell(transcript: Transcript, bar: tqdm, named: bool) -> None:
    """Print the text of a recording, and its translation, without breaking the progress bar."""
    for note in transcript.notes:
        bar.write(f"{transcript.path}: {note}", file=sys.stderr)
    for lang in (transcript.lang, transcript.to) if transcript.to else (transcript.lang,):
        lines = text_lines(transcript, translation=lang != transcript.lang)
        for line in [f"{transcript.path} ({lang}):", *lines] if named else lines:
            bar.write(line)


def _seconds(paths: Iterable[Path]) -> float:
    """Seconds of all recordings together, by their headers; those that cannot be read count nothing and are told in their turn."""
    total = 0.0
    for path in paths:
        try:
            total += Recording(path).seconds
        except UserError:
            continue
    return total
