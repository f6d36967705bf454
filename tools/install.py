"""Install m2asr into .venv in exactly the versions of a constraints file, once; `make setup` runs it.

Example:
  python3 tools/install.py                                           # the versions that .venv was made with, else constraints.txt
  python3 tools/install.py --constraints constraints-torch2.11.txt   # an older pair of torch and torchaudio

pip's own settings hold: its configuration files, PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, PIP_NO_INDEX, PIP_CACHE_DIR, proxies.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin/python"
STAMP = VENV / ".ready"  # lines: the constraints file, a hash of it and setup.py, this folder; then the packages that were installed
CHOICE = VENV / ".constraints"  # the constraints file that was chosen, also where installing it has failed
EXTRAS = "test,lint"
# GB, measured with PyPI's builds, which include CUDA: size of .venv; size of pip's downloads, which a cache of pip takes once more
INSTALLED, DOWNLOADED = 6.5, 3.3
FEW = 1.0  # GB that are needed if .venv has torch already


class SetupError(Exception):
    """An error of the set-up, with a message of one line."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--constraints", help="file of versions; default: the one that was chosen before")
    parser.add_argument("--disk_gb", type=float, help="free disk space that is needed before the download; default: that of PyPI's builds")
    args = parser.parse_args()
    with lock():
        install(args.constraints or last_constraints(), args.disk_gb)


def install(constraints: str, disk_gb: float | None) -> None:
    """Make .venv or bring it to these versions, unless it has them already. The stamp is written last, so an interrupted set-up runs again.

    If a package was removed or replaced since the last set-up, it runs again, too. An added package does not matter.
    """
    file = ROOT / constraints
    if not file.is_file():
        raise SetupError(f"{constraints}: no such file; there is {', '.join(sorted(path.name for path in ROOT.glob('constraints*.txt')))}")
    content = hashlib.sha256((ROOT / "setup.py").read_bytes() + file.read_bytes()).hexdigest()
    head, stamp = [constraints, content, str(ROOT)], _lines(STAMP)
    if stamp[:3] == head and set(stamp[3:]) <= set(packages()) and is_ours():
        return
    make_venv()
    CHOICE.write_text(f"{constraints}\n", encoding="utf-8")
    check_disk(file, disk_gb)
    print(f"installing the versions of {constraints} into {VENV}; PyPI's builds are a download of {DOWNLOADED:.0f} GB", flush=True)
    pip = [str(PYTHON), "-m", "pip", "install", *([] if sys.stdout.isatty() else ["--progress-bar", "off"]), "--constraint", str(file)]
    problem = "pip could not install all packages, see its lines above; its settings: .venv/bin/python -m pip config debug"
    run([*pip, "pip", "setuptools"], problem)
    run([*pip, "--no-build-isolation", "--editable", f"{ROOT}[{EXTRAS}]"], problem)  # builds with the setuptools of the constraints
    problem = "the installation does not work, see the lines above; if pip finds nothing to repair: rm -rf .venv, then make setup"
    run([str(PYTHON), "-m", "m2asr.bin.check", "--constraints", str(file)], problem)
    STAMP.write_text("\n".join([*head, *packages()]) + "\n", encoding="utf-8")


@contextmanager
def lock() -> Iterator[None]:
    """Wait until another set-up of this folder has ended. Where no file can be written, no other set-up can run."""
    try:
        file = open(ROOT / ".venv.lock", "ab")  # noqa: SIM115 - held until the end of the block
    except OSError:
        yield
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("waiting for another `make setup` of this folder", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def packages() -> list[str]:
    """The packages in .venv with their versions, as pip names their folders."""
    return sorted(path.name for path in VENV.glob("lib/python*/site-packages/*.dist-info"))


def last_constraints() -> str:
    """The constraints file that was chosen before, else constraints.txt."""
    return (_lines(CHOICE) or _lines(STAMP) or ["constraints.txt"])[0]


def is_ours() -> bool:
    """Whether the Python of .venv runs, in the version that .venv was made for, and imports m2asr from this folder."""
    program = "import m2asr, sys; print(m2asr.__file__, 'python{}.{}'.format(*sys.version_info))"
    output = _output([str(PYTHON), "-c", program])
    name = output.rpartition(" ")[2]
    return output == f"{ROOT / 'm2asr/__init__.py'} {name}" and (VENV / "lib" / name).is_dir()


def make_venv() -> None:
    """Make .venv. It is cleared first if it has another version of Python, does not run, or was made in another folder."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        package = "python{}.{}-venv".format(*sys.version_info)
        raise SetupError(f"{sys.executable} cannot make virtual environments: apt-get install {package}") from None
    if VENV.exists() and not VENV.is_dir():
        raise SetupError(f"{VENV}: it is a file; move it away")
    program = "import sys; print('{}.{}'.format(*sys.version_info), sys.prefix)"
    fits = _output([str(PYTHON), "-c", program]) == "{}.{} {}".format(*sys.version_info[:2], VENV)
    fits = fits and _lines(STAMP)[2:3] in ([], [str(ROOT)]) and (VENV / "lib" / "python{}.{}".format(*sys.version_info)).is_dir()
    if VENV.is_dir():
        STAMP.unlink(missing_ok=True)
    run([sys.executable, "-m", "venv", *([] if fits else ["--clear"]), str(VENV)], "cannot make a virtual environment")


def check_disk(constraints: Path, disk_gb: float | None) -> None:
    """Raise SetupError if a file system has too little free space for the installation. The files of an unfinished .venv count as free."""
    torch = re.search(r"^torch==(\S+)", constraints.read_text(encoding="utf-8"), re.MULTILINE)
    if disk_gb is None and torch and any(name.startswith(f"torch-{torch[1]}") for name in packages()):
        disk_gb = FEW
    needs = [(ROOT, INSTALLED), (Path(tempfile.gettempdir()), DOWNLOADED)] if disk_gb is None else [(ROOT, disk_gb)]
    if disk_gb is None and (cache := pip_cache()) is not None:
        needs.append((cache, DOWNLOADED))
    present = sum(path.lstat().st_size for path in VENV.rglob("*") if path.is_file() and not path.is_symlink()) / 1e9
    by_device: dict[int, float] = {}
    for folder, need in needs:
        device = folder.stat().st_dev
        by_device[device] = by_device.get(device, 0.0) + need - (present if folder == ROOT and need == INSTALLED else 0.0)
        free = shutil.disk_usage(folder).free / 1e9
        if free < by_device[device]:
            raise SetupError(
                f"{folder}: {free:.1f} GB are free, {by_device[device]:.1f} GB are needed for the packages and pip's downloads; "
                "free some space, or set TMPDIR or PIP_CACHE_DIR; CPU builds need 3 GB: `Without a GPU` in README.md, make setup DISK_GB=3"
            )


def pip_cache() -> Path | None:
    """The folder of pip's cache, or the nearest existing folder above it; None where pip keeps no cache."""
    cache = _output([str(PYTHON), "-m", "pip", "cache", "dir"])
    return next((path for path in (Path(cache), *Path(cache).parents) if path.is_dir()), None) if cache else None


def run(command: list[str], problem: str) -> None:
    """Run a command. Raises SetupError, with `problem`, where it fails."""
    # setuptools warns of packages that are installed as a link to their folder, as m2asr is on purpose
    code = subprocess.run(command, cwd=ROOT, env={**_environment(), "PYTHONWARNINGS": "ignore"}, check=False).returncode
    if code:
        raise SetupError(problem)


def _output(command: list[str]) -> str:
    """The output of a command, empty where it cannot be run or fails. It starts in /, since in this folder it could import this m2asr."""
    try:
        return subprocess.run(command, cwd="/", env=_environment(), capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")}


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


if __name__ == "__main__":
    try:
        main()
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; run make setup again to go on", file=sys.stderr)
        sys.exit(130)
