"""The language models and the text that were published with LibriSpeech (OpenSLR 11): words in capitals.

Sources: Panayotov et al. 2015, section 4, and the page of OpenSLR 11, which has no checksums.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from m2asr.corpora.download import Remote, download, record_checksum, resolve
from m2asr.corpora.parts import pick_parts
from m2asr.errors import UserError
from m2asr.files import lock

ADDRESS = "https://www.openslr.org/resources/11"
FILES = {
    "3-gram-small": "3-gram.pruned.3e-7.arpa.gz",
    "3-gram-medium": "3-gram.pruned.1e-7.arpa.gz",
    "3-gram": "3-gram.arpa.gz",
    "4-gram": "4-gram.arpa.gz",
    "text": "librispeech-lm-norm.txt.gz",
}


def fetch(out: Path, parts: Sequence[str] = (), mirror: str | None = None, remove: bool = False) -> str:
    """Download the parts, or all, into `out`; `mirror` is an address that has the files. Returns a report.

    Raises UserError for a file that cannot be fetched or differs from an earlier download, and for `remove`, since the packed files are
    used as they are.
    """
    if remove:
        raise UserError("librispeech_lm: its files are read as they are; leave --remove_archives out", exit_code=2)
    names = [FILES[part] for part in pick_parts(parts, list(FILES))]
    out.mkdir(parents=True, exist_ok=True)
    with lock(out / ".download.lock") as held:
        if not held:
            raise UserError(f"--out {out}: another download into it is running; wait for it, or give another folder")
        files = [Remote(name, None, "", f"{(mirror or ADDRESS).rstrip('/')}/{name}") for name in names if not (out / name).is_file()]
        download([resolve(file, out) for file in files], out)
        for file in files:
            if not (out / f"{file.name}.sha256").is_file():
                record_checksum(file, out)
    return f"{out}: {', '.join(names)}; no checksums are published: those of the first download are kept in NAME.sha256"
