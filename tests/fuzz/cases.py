"""Seeded mutations of configs and files, and the smallest of them that still fails."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

NUMBERS = [0, -1, 1, 257, 10**12, 10**30, -(10**30), 0.0, -0.5, 1e-300, 1e300, float("inf"), float("-inf"), float("nan")]
WORDS = ["", "..", "/abs", "x/../../leak", "a b", "a\nb", "\0", "no", "on", "feats", "values", "asr.en", "x" * 300, "ж", "\u202e", "-x"]
OTHERS = [None, True, False, [], {}, [[]], {"": None}, [None], {"type": "ctc"}, {"type": []}, b"bytes", ("a",), {1: 2}]
Path = tuple[Any, ...]


def paths(data: Any, path: Path = ()) -> Iterator[Path]:
    """The places of all values in nested data."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from paths(value, (*path, key))


def at(data: Any, path: Path) -> Any:
    for key in path:
        data = data[key]
    return data


def mutate(data: Any, rng: random.Random) -> tuple[Any, str]:
    """A copy of a config with one to three changes, and what they are."""
    data, changes = copy.deepcopy(data), []
    for _ in range(rng.randint(1, 3)):
        places = list(paths(data))
        if not places:
            break
        path = rng.choice(places)
        parent, key = at(data, path[:-1]), path[-1]
        how = rng.choice(["number", "number", "word", "other", "remove", "rename", "add", "copy"])
        if how in ("number", "word", "other"):
            parent[key] = copy.deepcopy(rng.choice({"number": NUMBERS, "word": WORDS, "other": OTHERS}[how]))
        elif how == "remove":
            del parent[key]
        elif how in ("rename", "add") and isinstance(parent, dict):
            value = parent.pop(key) if how == "rename" else copy.deepcopy(parent[key])
            parent[rng.choice([*WORDS, 3, True, None])] = value
        else:
            parent[key] = copy.deepcopy(at(data, rng.choice(places)[:-1] or path))
        changes.append(f"{how} {'.'.join(map(str, path))}")
    return data, "; ".join(changes)


def spoil(content: bytes, rng: random.Random) -> bytes:
    """A file with some bytes cut, doubled, exchanged or replaced."""
    for _ in range(rng.randint(1, 3)):
        lines = content.splitlines(keepends=True) or [b""]
        number, at_byte = rng.randrange(len(lines)), rng.randrange(len(content) + 1)
        how = rng.randrange(7)
        if how == 0:
            content = content[:at_byte]
        elif how == 1:
            lines.insert(number, lines[number])
        elif how == 2:
            lines[number] = rng.choice([b"\n", b"x\n", b" y z\n", b"\xff\xfe\n", b"\0\n", b"x" * 200_000 + b"\n", b"a -1 nan inf\n"])
        elif how == 3:
            rng.shuffle(lines)
        elif how == 4:
            lines[number] = lines[number].replace(b" ", rng.choice([b"\t", b"  ", b"", b"\xc2\xa0", b"\x1c"]))
        elif how == 5:
            content = b"\xef\xbb\xbf" + content
        else:
            content = content[:at_byte] + bytes([rng.randrange(256)]) + content[at_byte:]
        if how in (1, 2, 3, 4):
            content = b"".join(lines)
    return content


def smallest(data: Any, fails: Callable[[Any], bool]) -> Any:
    """A config from which nothing can be taken without that it stops to fail."""
    shrunk = True
    while shrunk:
        shrunk = False
        for path in sorted(paths(data), key=len):
            smaller = copy.deepcopy(data)
            del at(smaller, path[:-1])[path[-1]]
            if fails(smaller):
                data, shrunk = smaller, True
                break
    return data
