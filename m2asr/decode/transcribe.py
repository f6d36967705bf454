"""Transcribe recordings one after the other: print and write each when it is finished, continue after those that cannot be read."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from m2asr.data.recording import Recording, recordings
from m2asr.decode.transcriber import Transcriber
from m2asr.decode.transcript import Transcript
from m2asr.decode.transcript_files import file_names, output_names, text_lines, write_transcript
from m2asr.errors import UserError
from m2asr.out_of_memory import explained
from m2asr.ownership import claim
from m2asr.progress import visible

BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f} of {total:.0f} s [{elapsed}<{remaining}]"


def collect(paths: Iterable[Path]) -> tuple[list[tuple[Path, Path]], list[str]]:
    """All recordings in files and folders, each once with its path in its folder, and the errors of paths that cannot be read."""
    collected: dict[Path, Path] = {}
    problems = []
    for path in paths:
        try:
            for file, relative in recordings(path):
                collected.setdefault(file, relative)
        except UserError as error:
            problems.append(str(error))
    return list(collected.items()), problems


def transcribe(
    transcriber: Transcriber,
    recordings: Sequence[tuple[Path, Path]],
    out: Path,
    formats: Sequence[str],
    lang: str | None = None,
    to: str | None = None,
) -> list[Path]:
    """Transcribe recordings, given with their paths in their folders; returns those that failed or end too early.

    The files of a recording appear when it is finished. Raises UserError, before anything is read, if no head reads the language, or if no
    language is given and the run cannot identify it.
    """
    if (given_lang := lang or transcriber.language(to)) is not None:
        transcriber.choose(given_lang, to)
    names = output_names(recordings)
    failed = []
    total = _seconds(path for path, _ in recordings)
    with tqdm(total=total, desc="transcribe", disable=not visible(), bar_format=BAR) as bar:
        for path, _ in recordings:
            try:
                stem = out / names[path]
                claim(stem.parent, list(file_names(stem.name, formats, to)))
                with explained(lambda path=path: str(path), "lower --longest, or batch_seconds or beam of the search"):
                    transcript = transcriber(path, lang, to, bar.update)
            except UserError as error:
                bar.write(f"error: {error}", file=sys.stderr)
                failed.append(path)
                continue
            write_transcript(transcript, stem, formats)
            _print(transcript, bar, named=len(recordings) > 1 or to is not None)
            if not transcript.complete:
                failed.append(path)
    return failed


def _print(transcript: Transcript, bar: tqdm, named: bool) -> None:
    """Print the text of a recording, and its translation, without breaking the progress bar."""
    for note in transcript.notes:
        bar.write(f"{transcript.path}: {note}", file=sys.stderr)
    for lang in (transcript.lang, transcript.to) if transcript.to else (transcript.lang,):
        lines = text_lines(transcript, translation=lang != transcript.lang)
        for line in [f"{transcript.path} ({lang}):", *lines] if named else lines:
            bar.write(line)


def _seconds(paths: Iterable[Path]) -> float:
    """Seconds of all recordings by their headers; those that cannot be read count 0 and are reported when it is their turn."""
    total = 0.0
    for path in paths:
        try:
            total += Recording(path).seconds
        except UserError:
            continue
    return total
