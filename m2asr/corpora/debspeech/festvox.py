"""festvox-ru: one Russian speaker reads literature; the recordings behind a voice of the Festival synthesizer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from m2asr.corpora.debs import file_text, package_files
from m2asr.corpora.debspeech.clips import Clip, tidy
from m2asr.corpora.debspeech.sound import decode_file

LINE = re.compile(r'\(\s*(\S+)\s+"([^"]*)"\s*\)')


def read(debs: dict[str, Path]) -> Iterator[Clip]:
    """The clips of the package festvox-ru; its marks of stress (`+`) are removed."""
    members = package_files(debs["festvox-ru"], lambda name: name.endswith("/etc/txt.done.data") or re.search(r"/wav/\w+\.wav$", name))
    files = dict(members)
    texts = next((file_text(debs["festvox-ru"], name, data) for name, data in files.items() if name.endswith("/txt.done.data")), "")
    sounds = {Path(name).stem: data for name, data in files.items() if name.endswith(".wav")}
    for key, text in LINE.findall(texts):
        if key in sounds:
            yield Clip("festvox", key, "ru", "nsh", {"ru": tidy(text.replace("+", ""))}, partial(decode_file, sounds[key]))
