"""Install m2asr into .venv in exactly the versions of a constraints file, once; `make setup` runs it with any Python 3.

Example:
  python3 tools/install.py                                           # as .venv was made before, else from constraints.txt
  python3 tools/install.py --constraints constraints-torch2.11.txt   # an older pair of torch and torchaudio

pip's own settings hold: its configuration files, PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, PIP_NO_INDEX, PIP_CACHE_DIR, proxies.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
STAMP = VENV / ".ready"  # line 1: the constraints file that .venv was made from; line 2: its hash; then the packages that were installed
EXTRAS = "test,lint"
# GB, measured with PyPI's builds, which bring CUDA: .venv; what pip downloads before it installs, once more if it keeps a cache
INSTALLED, DOWNLOADED = 6.5, 3.3


class SetupError(Exception):
    """What is wrong, in one line."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--constraints", help="file of versions, below the toolkit's folder; default: that of the .venv which is there")
    parser.add_argument("--disk_gb", type=float, help="disk space to ask for before anything is fetched; default: that of PyPI's builds")
    args = parser.parse_args()
    with open(ROOT / "setup.py", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two makes at once wait for each other
        install(args.constraints or last_constraints(), args.disk_gb)


def install(constraints: str, disk_gb: float | None) -> None:
    """Make .venv or bring it to these versions, unless it is so already. The stamp comes last: what was interrupted is done again.

    A package that was removed or replaced since counts as not installed, one that was added does not matter.
    """
    file = ROOT / constraints
    if not file.is_file():
        raise SetupError(f"{constraints}: no such file; there is {', '.join(sorted(path.name for path in ROOT.glob('constraints*.txt')))}")
    content = hashlib.sha256((ROOT / "setup.py").read_bytes() + file.read_bytes()).hexdigest()
    head = [constraints, content]
    stamp = STAMP.read_text(encoding="utf-8").splitlines() if STAMP.is_file() else []
    if stamp[:2] == head and set(stamp[2:]) <= set(packages()):
        return
    check_venv()
    check_disk(disk_gb)
    STAMP.unlink(missing_ok=True)
    print(f"installing into {VENV} what {constraints} names; PyPI's builds are {DOWNLOADED:.0f} GB to fetch", flush=True)
    run([sys.executable, "-m", "venv", *(["--clear"] if other_python() else []), str(VENV)], "cannot make a virtual environment")
    pip = [str(VENV / "bin/python"), "-m", "pip", "install", *([] if sys.stdout.isatty() else ["--quiet"]), "--constraint", str(file)]
    problem = "pip could not install all of it, see its lines above; its settings: .venv/bin/python -m pip config debug"
    run([*pip, "pip", "setuptools"], problem)
    run([*pip, "--no-build-isolation", "--editable", f"{ROOT}[{EXTRAS}]"], problem)  # built by the setuptools of the constraints
    STAMP.write_text("\n".join([*head, *packages()]) + "\n", encoding="utf-8")  # the check reads it
    try:
        run([str(VENV / "bin/python"), "-m", "m2asr.bin.check"], "")
    except BaseException:
        STAMP.unlink()
        raise


def packages() -> list[str]:
    """The packages in .venv with their versions, as pip names their folders."""
    return sorted(path.name for path in VENV.glob("lib/python*/site-packages/*.dist-info"))


def last_constraints() -> str:
    """The constraints file that .venv was made from, constraints.txt without one."""
    lines = STAMP.read_text(encoding="utf-8").splitlines() if STAMP.is_file() else []
    return lines[0] if lines and (ROOT / lines[0]).is_file() else "constraints.txt"


def check_venv() -> None:
    """Raise SetupError where this Python cannot make virtual environments, as Debian's without python3-venv."""
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise SetupError(f"{sys.executable} cannot make virtual environments: apt-get install python3-venv") from None


def check_disk(disk_gb: float | None) -> None:
    """Raise SetupError where a file system has less free space than what is put on it; what an unfinished .venv holds counts as free."""
    needs = {ROOT: INSTALLED, Path(tempfile.gettempdir()): DOWNLOADED} if disk_gb is None else {ROOT: disk_gb}
    if disk_gb is None and (cache := pip_cache()) is not None:
        needs[cache] = needs.get(cache, 0.0) + DOWNLOADED
    there = sum(path.lstat().st_size for path in VENV.rglob("*") if path.is_file() and not path.is_symlink()) / 1e9
    by_device: dict[int, float] = {}
    for folder, need in needs.items():
        device = folder.stat().st_dev
        by_device[device] = by_device.get(device, 0.0) + need - (there if folder == ROOT else 0.0)
        free = shutil.disk_usage(folder).free / 1e9
        if free < by_device[device]:
            raise SetupError(
                f"{folder}: {free:.1f} GB are free, {by_device[device]:.1f} GB needed for PyPI's builds and what pip fetches and keeps; "
                "free some space, or set TMPDIR or PIP_CACHE_DIR; CPU builds need 3 GB: `Without a GPU` in README.md, make setup DISK_GB=3"
            )


def pip_cache() -> Path | None:
    """Where pip keeps what it fetched, or the nearest folder above that is there; None where it is told to keep nothing."""
    asked = subprocess.run([sys.executable, "-m", "pip", "cache", "dir"], capture_output=True, text=True, check=False)
    if "cache is disabled" in asked.stderr:
        return None
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pip"
    folder = Path(asked.stdout.strip() or default)  # this Python may have no pip yet
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def other_python() -> bool:
    """Whether .venv is there and belongs to another version of Python."""
    link = VENV / "bin" / "python{}.{}".format(*sys.version_info)
    return (VENV / "bin").is_dir() and not link.exists()


def run(command: list[str], problem: str) -> None:
    """Run a command. Raises SetupError, with `problem`, where it fails."""
    # m2asr is meant to be installed as a link to this folder, which setuptools warns of
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")}
    environment["PYTHONWARNINGS"] = "ignore"
    code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    if code:
        raise SetupError(problem or "the installation does not work, see the lines above")


if __name__ == "__main__":
    try:
        main()
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted: make setup goes on", file=sys.stderr)
        sys.exit(130)
