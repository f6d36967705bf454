"""Ways to spoil a corpus, and what has to come of it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from m2asr.corpora import CORPORA
from m2asr.data.validate import validate
from m2asr.errors import UserError
from tests.corpora.trees import write_lines


def remove(name: str) -> Callable[[Path], object]:
    """Remove a file or an empty folder."""

    def spoil(root: Path) -> None:
        path = root / name
        path.rmdir() if path.is_dir() else path.unlink()

    return spoil


def cut(name: str, keep: float = 0.7) -> Callable[[Path], object]:
    """Cut the end of a file off."""
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[: int(keep * (root / name).stat().st_size)])


def copy(name: str, new: str) -> Callable[[Path], object]:
    """Have a file twice."""

    def spoil(root: Path) -> None:
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        (root / new).write_bytes((root / name).read_bytes())

    return spoil


def edit(name: str, old: str, new: str) -> Callable[[Path], object]:
    """Replace a piece of text, which must be there; the new one may hold latin-1 bytes."""

    def spoil(root: Path) -> None:
        data = (root / name).read_bytes()
        assert old.encode() in data
        (root / name).write_bytes(data.replace(old.encode(), new.encode("latin-1" if "\xe9" in new else "utf-8"), 1))

    return spoil


def append(name: str, line: str) -> Callable[[Path], object]:
    """Add a line."""
    return lambda root: (root / name).write_text((root / name).read_text(encoding="utf-8") + line + "\n", encoding="utf-8")


def check_refused(corpus: str, root: Path, message: str, parts: tuple[str, ...] = ()) -> None:
    """Preparing it ends in one line that holds `message`, and leaves what was there before as it was, and nothing else."""
    out = Path(tempfile.mkdtemp()) / "data"
    for before in (False, True):
        if before:
            write_lines(out / "note", "mine")
        with pytest.raises(UserError) as error:
            CORPORA[corpus](root, out, parts)
        assert message in str(error.value) and "\n" not in str(error.value), error.value
        assert [path.name for path in out.iterdir()] == ["note"] if before else not out.exists()
    shutil.rmtree(out.parent)


def check_clean(out: Path, untexted: tuple[str, ...] = ()) -> None:
    """The validator finds nothing wrong with any set; it reads every recording."""
    for folder in sorted(out.iterdir()):
        report = validate(folder, text=folder.name not in untexted, keep_long_text=True)
        assert report.clean and report.utterances, report
