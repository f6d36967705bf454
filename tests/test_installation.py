"""The check of the installation reports every problem in a line, and so does a command that meets the problem first."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from m2asr import installation
from tests.conftest import ROOT

FILES = sorted(path.name for path in ROOT.glob("constraints*.txt"))
NO_LIBRARY = """
try:
    raise OSError("/x/torchaudio/lib/libtorchaudio.so: {cause}")
except OSError as error:
    raise OSError("Could not load this library: /x/libtorchaudio.so") from error
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python without any package."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False)
    return folder / "bin"


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process whose torchaudio raises the errors of a build that does not fit torch; half of sacrebleu is gone."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "torchaudio").mkdir()
    text = NO_LIBRARY.format(cause="undefined symbol: torch_exception_get_what_without_backtrace")
    (folder / "torchaudio/__init__.py").write_text(text)
    (folder / "sacrebleu.py").write_text("raise ImportError('half of it is gone')")
    return {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"}


def run(command: list[object], **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **settings)


@pytest.fixture(scope="module")
def check_of_broken(broken: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "-m", "m2asr.bin.check"], cwd=ROOT, env=broken)


@pytest.fixture(scope="module")
def check_of_sound() -> subprocess.CompletedProcess[str]:
    """The check where no program can be called, so that espeak-ng is missing."""
    return run([sys.executable, "-m", "m2asr.bin.check"], cwd=ROOT, env={**os.environ, "PATH": "/nonexistent"})


def test_a_sound_installation(check_of_sound: subprocess.CompletedProcess[str]) -> None:
    process = check_of_sound
    assert process.returncode == 0, process.stdout + process.stderr
    components = {line.split()[0]: line.split()[1:] for line in process.stdout.splitlines()}
    for name in ("torch", "torchaudio"):
        assert components[name][0] == "found" and components[name][1].startswith(metadata.version(name).split("+")[0])
    assert components["packages"][0] == components["CPU"][0] == "found"


def test_the_check_knows_the_module_of_every_package_that_setup_py_names() -> None:
    assert installation.MODULES.keys() == {name.lower() for name in installation.required()}


def test_a_package_whose_files_are_gone_is_broken(check_of_broken: subprocess.CompletedProcess[str]) -> None:
    told = "sacrebleu: ImportError: half of it is gone: rm -rf .venv, then make setup"
    assert check_of_broken.returncode == 1 and told in check_of_broken.stdout


def test_a_constraints_file_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("--extra-index-url x\n# why\ntqdm\nnumpy>=2\nnums==1.0 ; python_version < '3'\njiwer==4.0.0  # via\n")
    assert installation.pins(tmp_path / "own.txt") == {"jiwer": "4.0.0"}


def test_missing_packages_are_named_with_the_command_that_installs_them(check_of_sound: subprocess.CompletedProcess[str]) -> None:
    lines = {line.split()[0]: line for line in check_of_sound.stdout.splitlines()}
    assert lines["espeak-ng"].split()[1] == "missing" and lines["espeak-ng"].endswith(": apt-get install espeak-ng")
    absent = [name for name in installation.OPTIONAL if installation.version(name) is None]
    constraints = installation.constraints_used().name
    assert all(lines[name].endswith(f"pip install -c {constraints} {name}") for name in absent)


@pytest.mark.parametrize(
    ("torch", "torchaudio", "works"),
    [
        ("2.14.1", "2.11.1", True),
        ("2.14.1+cu130", "2.11.1+cu132", True),
        ("2.13.0", "2.11.1", True),
        ("2.11.0", "2.11.1", False),
        ("2.12.1+cpu", "2.11.1+cpu", False),
        ("2.11.0+cu128", "2.11.0", True),
        ("2.14.1", "2.11.0", True),
        ("2.11.0", None, True),
    ],
)
def test_pairs_of_torch_and_torchaudio(monkeypatch: pytest.MonkeyPatch, torch: str, torchaudio: str | None, works: bool) -> None:
    monkeypatch.setattr(installation, "version", {"torch": torch, "torchaudio": torchaudio}.get)
    assert (installation.bad_pair() == "") is works
    assert works or (torch in installation.bad_pair() and torchaudio in installation.bad_pair())


def test_the_check_tells_a_broken_library_and_its_cause(check_of_broken: subprocess.CompletedProcess[str]) -> None:
    process = check_of_broken
    assert process.returncode == 1
    assert process.stderr == "error: this installation does not work: packages, torchaudio; the lines above tell what to do\n"
    line = next(line for line in process.stdout.splitlines() if line.startswith("torchaudio"))
    assert " broken " in line and "undefined symbol: torch_exception_get_what_without_backtrace" in line and line.endswith("make setup")


def test_a_command_that_meets_a_broken_library_says_so_in_a_line(broken: dict[str, str], mini_data: Path, tmp_path: Path) -> None:
    options = ["--config", ROOT / "egs/mini/conf/fbank.yaml", "--data", mini_data, "--dump", tmp_path / "dump", "dev_en"]
    process = run([sys.executable, "-m", "m2asr.bin.fbank", *options], cwd=ROOT, env=broken)
    assert process.returncode == 1 and process.stderr.count("\n") == 1, process.stderr
    assert process.stderr.startswith("error: torch") and "`make setup`" in process.stderr and "`make check`" in process.stderr


def test_a_build_without_cuda_below_one_that_needs_it() -> None:
    error = OSError("Could not load this library: _torchaudio.so")
    error.__cause__ = OSError("libc10_cuda.so: cannot open shared object file: No such file or directory")
    assert "needs the CUDA build of torch" in installation.explain(error) and "Without a GPU" in installation.explain(error)
    assert "## Without a GPU" in (ROOT / "README.md").read_text(encoding="utf-8")


def after(error: Exception, cause: Exception | None, *, chained: bool = True) -> Exception:
    """An error raised while its cause was handled; `chained` is as in `raise error from cause`, otherwise as in `from None`."""
    error.__context__, error.__cause__, error.__suppress_context__ = cause, cause if chained else None, not chained
    return error


@pytest.mark.parametrize(
    "text", ["x.so: file too short", "x.so: invalid ELF header", "libc.so.6: version `GLIBC_2.34' not found", "sndfile library not found"]
)
def test_other_messages_of_the_loader(text: str) -> None:
    assert "`make setup`" in installation.explain(OSError(text)) and "`make setup`" in installation.explain(ImportError(text))


@pytest.mark.parametrize(
    "error",
    [
        OSError(2, "No such file or directory", "audio/my shared object file.wav"),
        after(OSError(2, "No such file or directory", "/nope"), OSError("x.so: undefined symbol: y")),
        after(OSError("the disk is gone"), OSError("x.so: undefined symbol: y"), chained=False),
        ModuleNotFoundError("No module named 'torch.nope'", name="torch.nope"),
        ModuleNotFoundError("No module named 'extractt'", name="extractt"),
    ],
)
def test_errors_of_files_and_of_names_are_not_taken_for_the_loaders(error: Exception) -> None:
    assert installation.explain(error) == ""


@pytest.mark.parametrize("error", [OSError(2, "No such file"), ImportError("cannot import name 'x' from 'm2asr.data'"), KeyError("x")])
def test_other_errors_are_not_taken_for_a_broken_installation(error: Exception) -> None:
    assert installation.explain(error) == ""
    assert installation.explain(ModuleNotFoundError("No module named 'm2asr.bin.nope'", name="m2asr.bin.nope")) == ""


@pytest.mark.parametrize("line", ["check", "validate egs/mini", "train --config egs/mini/conf/train_m2asr.yaml --exp exp"])
def test_a_python_without_packages_is_a_line(bare: Path, line: str) -> None:
    process = run([bare / "python", "-m", *f"m2asr.bin.{line}".split()], cwd=ROOT)
    assert process.returncode == 1 and process.stderr.count("\n") == 1 and process.stderr.startswith("error: "), process.stderr
    assert "make setup" in process.stdout + process.stderr


@pytest.mark.parametrize("script", ["utils/validate_data_dir.sh", "utils/fix_data_dir.sh", "egs/mini/run.sh", "egs/mini/ablation.sh"])
@pytest.mark.parametrize("state", ["nothing", "a python without m2asr", "an interrupted set-up", "a copied folder", "no python any more"])
def test_scripts_without_set_up(bare: Path, tmp_path: Path, script: str, state: str) -> None:
    shutil.copytree(ROOT / "utils", tmp_path / "utils")
    for recipe in ("mini", "TEMPLATE"):  # mini has links to files of TEMPLATE
        ignored = shutil.ignore_patterns("exp", "dump", "data", "corpus")
        shutil.copytree(ROOT / "egs" / recipe, tmp_path / "egs" / recipe, symlinks=True, ignore=ignored)
    path = "/usr/bin:/bin"
    if state == "a python without m2asr":
        path = f"{bare}:{path}"
    elif state != "nothing":
        (tmp_path / ".venv/bin").mkdir(parents=True)
        if state != "an interrupted set-up":
            origin = "/elsewhere" if state == "a copied folder" else tmp_path
            (tmp_path / ".venv/.ready").write_text(f"constraints.txt\n0\n{origin}\n")
            (tmp_path / ".venv/bin/python").symlink_to(bare / "python" if state == "a copied folder" else "/nonexistent")
    command = [tmp_path / script, "data"][: 1 if script.startswith("egs") else 2]
    process = run(command, cwd=tmp_path, env={"PATH": path, "HOME": str(tmp_path)})
    assert process.returncode in (1, 2) and process.stderr.count("\n") == 1, process.stderr
    assert process.stderr.startswith("error: ") and "make setup" in process.stderr


@pytest.mark.parametrize("name", FILES)
def test_constraints_pin_all_that_set_up_installs(name: str) -> None:
    pinned = installation.pins(ROOT / name)
    needed, visited = [("m2asr", extra) for extra in ("", "test", "lint")], set()
    while needed:
        package, extra = needed.pop()
        if (package, extra) in visited:
            continue
        visited.add((package, extra))
        try:
            lines = metadata.requires(package) or []
        except metadata.PackageNotFoundError:
            continue  # what only the builds of other torch versions bring
        for requirement in map(Requirement, lines):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                assert canonicalize_name(requirement.name) in pinned, f"{package} needs {requirement.name}, which {name} does not pin"
                if package == "m2asr":
                    assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement
                needed += [(requirement.name, extra) for extra in ("", *requirement.extras)]


def test_every_constraints_file_is_a_pair_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    assert FILES == ["constraints-torch2.11.txt", "constraints.txt"]
    for name in FILES:
        monkeypatch.setattr(installation, "version", installation.pins(ROOT / name).get)
        assert installation.bad_pair() == ""
        lines = [line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        assert all(re.match(r"[a-z0-9-]+==[\w.]+( ; [^#]+)?  *# via ", line) for line in lines)
