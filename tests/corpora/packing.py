"""Archives as the public corpora come in, made of folders."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path


def packed(files: Mapping[str, bytes | Path], links: Mapping[str, str] | None = None) -> bytes:
    """A .tar.gz of folders (as they are), files and links by name."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files.items():
            if isinstance(content, Path):
                tar.add(content, name)
            else:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return out.getvalue()


def pin(content: bytes, algorithm: str = "sha256") -> tuple[int, str]:
    """Size and checksum."""
    return len(content), hashlib.new(algorithm, content).hexdigest()


def librispeech(root: Path) -> dict[str, bytes]:
    """{archive: content} of LibriSpeech/: one per part, each with the tables beside the parts."""
    tables = {f"LibriSpeech/{path.name}": path for path in root.glob("*.TXT")}
    return {f"{part.name}.tar.gz": packed({**tables, f"LibriSpeech/{part.name}": part}) for part in root.iterdir() if part.is_dir()}


def aishell1(root: Path) -> bytes:
    """data_aishell.tgz: the recordings of a speaker are an archive in wav/."""
    speakers = {path.name: packed({f"{path.parent.name}/{path.name}": path}) for path in (root / "wav").glob("*/*")}
    inner = {f"data_aishell/wav/{name}.tar.gz": content for name, content in speakers.items()}
    return packed({"data_aishell/transcript": root / "transcript", **inner})


def tables(root: Path) -> dict[str, bytes]:
    """{archive: content} of the tables of CoVoST 2: one each."""
    return {f"{path.name}.tar.gz": packed({path.name: path}) for path in root.glob("covost_v2.*.tsv")}
