"""Choose new versions for the constraints files from the ranges of setup.py, and write them only after the tests passed with them.

constraints.txt gets the newest versions that fit together on all Pythons from 3.10 to 3.13. Each other file keeps its pair of torch and
torchaudio. The tests run in a copy of the working tree with a separate .venv. uv reads its own settings (UV_DEFAULT_INDEX, UV_INDEX,
proxies), not pip's.

Example:
  make update
"""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = {  # file: (versions that are fixed in it, the make target of the tests that it must pass)
    "constraints.txt": ([], "test"),
    "constraints-torch2.11.txt": (["torch==2.11.0", "torchaudio==2.11.0"], "test-torch"),
}
HEAD = """# Every package that `make setup{option}` installs, with what asks for it{fixed}: versions that were tested together.
# `make update` renews this file.
"""


def main() -> int:
    python = Path(sys.executable)
    call([str(python), "-m", "pip", "install", "--quiet", "--constraint", str(ROOT / "constraints.txt"), "uv"])
    with tempfile.TemporaryDirectory(prefix="m2asr-update-") as folder:
        copy = Path(folder) / "m2asr"
        copy_tree(copy)
        for name, (fixed, _) in FILES.items():
            resolve(python.parent / "uv", copy / name, fixed)
            show_changes(name, (ROOT / name).read_text(encoding="utf-8"), (copy / name).read_text(encoding="utf-8"))
        for name, (_, target) in FILES.items():
            command = ["make", target, f"PYTHON={base_python()}", f"CONSTRAINTS={name}"]
            if subprocess.run(command, cwd=copy, check=False).returncode:
                print(f"error: `make {target}` fails with the new {name}; nothing was changed", file=sys.stderr)
                return 1
        for name in FILES:
            shutil.copy2(copy / name, ROOT / f".{name}.tmp")
            os.replace(ROOT / f".{name}.tmp", ROOT / name)
    print("the constraints files are new, and the tests pass with them: `make setup` installs them here")
    return 0


def call(command: list[str], folder: Path = ROOT) -> str:
    """Run a command and return its output. Where it fails, the process ends with its messages and a line on the failure."""
    result = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{result.stderr}error: `{' '.join(command)}` failed, see above; nothing was changed")
    return result.stdout


def copy_tree(copy: Path) -> None:
    """Copy the files that git knows or would not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in filter(None, call(command).split("\0")):
        source = ROOT / name
        if source.is_symlink() or source.is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy / name, follow_symlinks=False)


def resolve(uv: Path, path: Path, fixed: list[str]) -> None:
    """Write the newest versions that fit together, and fit the fixed versions, for all versions of Python."""
    path.unlink(missing_ok=True)  # uv would keep its versions
    pair = path.with_name("fixed.in")
    pair.write_text("\n".join(fixed), encoding="utf-8")
    options = ["--universal", "--python-version", "3.10", "--all-extras", "--no-header", "--annotation-style", "line", "--quiet"]
    resolved = call([str(uv), "pip", "compile", "setup.py", *options, "--constraint", pair.name], path.parent)
    pair.unlink()
    option, pinned = (f" CONSTRAINTS={path.name}", f", with {' and '.join(fixed)}") if fixed else ("", "")
    path.write_text(HEAD.format(option=option, fixed=pinned) + resolved, encoding="utf-8")


def show_changes(name: str, before: str, after: str) -> None:
    """Print which versions change."""
    lines = difflib.unified_diff(_pins(before), _pins(after), lineterm="", n=0)
    changed = [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")]
    title = f"{name}: {'these versions change' if changed else 'nothing changes'}"
    print("\n".join([title, *(f"  {line}" for line in changed)]), flush=True)


def base_python() -> str:
    """The Python that this .venv was made with."""
    return str(Path(getattr(sys, "_base_executable", sys.executable)))


def _pins(text: str) -> list[str]:
    return [line.split("#")[0].strip() for line in text.splitlines() if "==" in line]


if __name__ == "__main__":
    sys.exit(main())
