"""Damages files as disks, editors and strangers do."""

from __future__ import annotations

import gzip
import os
import random
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.cases import spoil

HOSTILE = [
    b"",
    b"\0",
    b"\n",
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b"3\n",
    b"[" * 100_000,
    b'{"a": 1e999}',
    b"a: &a [*a]\n",
    b"<html>\n",
    b"\xff\xfe\0",
    b"x" * 200_000,
    b"PK\x03\x04",
    b"\x1f\x8b",
    b"BZh9",
    b"RIFF\xff\xff\xff\xffWAVE",
    b"!<arch>\n",
    b"9" * 10_000 + b"\n",
    b"\r\n",
    b"random-spk0-0000 nan\n",
    b"- 1\n- 2\n",
    b"a: b\n",
]
WAYS = ["spoil", "spoil", "spoil", "hostile", "hostile", "cut", "zeros", "folder", "pipe", "loop", "gone", "link", "packed", "other"]


def damage(world: Path, name: str, way: str, rng: random.Random, others: Sequence[str]) -> None:
    """Damage a file of a folder in one of the WAYS."""
    path, other = world / name, world / rng.choice(others)
    content, foreign = (file.read_bytes() if file.is_file() else b"" for file in (path, other))
    path.unlink(missing_ok=True)
    contents = {
        "spoil": lambda: spoil(content, rng),
        "hostile": lambda: rng.choice(HOSTILE),
        "cut": lambda: content[: rng.randrange(len(content) + 1)],
        "zeros": lambda: bytes(len(content)),
        "packed": lambda: gzip.compress(bytes(1 << 25)),
        "other": lambda: foreign,
    }
    if way == "folder":
        (path / "within").mkdir(parents=True)
    elif way == "pipe":
        os.mkfifo(path)
    elif way in ("loop", "gone"):
        path.symlink_to(path.name if way == "loop" else "nowhere")
    elif way == "link":
        path.with_name("real").write_bytes(content)
        path.symlink_to("real")
    else:
        path.write_bytes(contents[way]())
