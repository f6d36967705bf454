"""One small file with the recognized texts and the figures of scored runs, from which their table can be written where the runs are not."""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections import defaultdict
from gzip import GzipFile
from itertools import chain
from pathlib import Path

from tqdm.utils import CallbackIOWrapper

from m2asr.errors import UserError
from m2asr.files import lock, open_atomic, open_input, replace_dir
from m2asr.unpacking import SLACK, Room

NAME = r"[\w+-][\w.+-]*"
TEXTS = ("info.json", "ref.trn", "hyp.trn")
MEMBER = re.compile(rf"conf/(?P<tag>{NAME})\.yaml|(?P<run>{NAME})/(results\.json|decode_{NAME}/{NAME}/{NAME}/({'|'.join(TEXTS)}))")
GROWTH = 100  # an archive unpacks to at most this many times its size; texts need 10


def save_runs(folder: Path, archive: Path) -> int:
    """Write what a comparison reads of every scored run in `folder` into a .tar.gz; returns the number of runs.

    These are the config, results.json, and the texts of every search with their references: no model, no audio. The bytes follow from the
    runs alone.
    """
    configs = {path.stem: path for path in (folder / "conf").glob("*.yaml")}
    runs = [path.parent for path in sorted(folder.glob("*/results.json")) if path.parent.name in configs]
    paths = []
    for run in runs:
        texts = (sorted(run.glob(f"decode_*/*/*/{name}")) for name in TEXTS)
        paths += [configs[run.name], run / "results.json", *chain.from_iterable(texts)]
    with (
        open_atomic(archive, "wb") as file,
        GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for path in paths:
            data = path.read_bytes()
            member = tarfile.TarInfo(path.relative_to(folder).as_posix())
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return len(runs)


def load_runs(archive: Path, folder: Path) -> list[str]:
    """Unpack the runs of an archive into `folder` that are not there; returns their names.

    Raises UserError where the file cannot be read or holds anything else than `save_runs` writes.
    """
    try:
        files = _read(archive)
    except (OSError, EOFError, ValueError, tarfile.TarError, zlib.error) as error:
        raise UserError(f"--archive {archive}: cannot be read: {error}; remove it, or get it again") from None
    loaded = []
    with lock(folder / ".archive.lock", wait=True):
        for tag, run in sorted(files.items()):
            if (folder / tag).exists():
                continue
            if "config" not in run or "results.json" not in run:
                raise UserError(f"--archive {archive}: {tag} lacks its config or results.json; it is not an archive of an ablation")
            with open_atomic(folder / "conf" / f"{tag}.yaml", "wb") as file:
                file.write(run.pop("config"))
            with replace_dir(folder / tag, "a run") as temporary:
                for name, data in run.items():
                    (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                    (temporary / name).write_bytes(data)
            loaded.append(tag)
    return loaded


def _read(archive: Path) -> dict[str, dict[str, bytes]]:
    """The files of every run in an archive, by their path in the folder of the run; that of the config is `config`."""
    files: dict[str, dict[str, bytes]] = defaultdict(dict)
    room = Room(GROWTH * archive.stat().st_size + SLACK)
    with (
        open_input(archive) as packed,
        GzipFile(fileobj=packed) as unzipped,
        tarfile.open(fileobj=CallbackIOWrapper(room.take, unzipped), mode="r|") as tar,
    ):
        for member in tar:
            match = MEMBER.fullmatch(member.name)
            if not match or not member.isreg():
                raise UserError(f"--archive {archive}: not an archive of an ablation: it holds {member.name[:80]!r}")
            tag = match["tag"] or match["run"]
            files[tag]["config" if match["tag"] else member.name.removeprefix(f"{tag}/")] = tar.extractfile(member).read()
    return files
