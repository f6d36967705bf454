"""Kaldi's CTM format: a line per word with its times."""

from __future__ import annotations

from collections.abc import Iterable

from m2asr.decode.marks import Mark


def ctm_lines(utt: str, marks: Iterable[Mark], channel: int = 1) -> str:
    """Lines `utterance channel start duration word confidence`, times in seconds."""
    return "".join(f"{utt} {channel} {mark.start:.3f} {mark.end - mark.start:.3f} {mark.text} {mark.confidence:.3f}\n" for mark in marks)
