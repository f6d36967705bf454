"""Checks the installation: missing packages, versions, and pairs that do not work together, each with the command that repairs it.

This module imports only the standard library, so it also works if packages are missing.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SETUP = "make setup"
PYTHONS = ((3, 10), (3, 13))  # the oldest and the newest, as in setup.py
REMAKE = "rm -rf .venv, then make setup"
MODULES = {  # package that m2asr needs: its module to import
    "numpy": "numpy",
    "soundfile": "soundfile",
    "kaldiio": "kaldiio",
    "sentencepiece": "sentencepiece",
    "espnet_tts_frontend": "tacotron_cleaner.cleaners",
    "pypinyin": "pypinyin",
    "num2words": "num2words",
    "scikit-learn": "sklearn.cluster",
    "threadpoolctl": "threadpoolctl",
    "jiwer": "jiwer",
    "rapidfuzz": "rapidfuzz",
    "sacrebleu": "sacrebleu",
    "pyyaml": "yaml",
    "pydantic": "pydantic",
    "tqdm": "tqdm",
    "tensorboard": "tensorboard",
    "matplotlib": "matplotlib",
    "packaging": "packaging",
    "torch": "torch",
    "torchaudio": "torchaudio",
}
# A program that imports modules, given as package=module, and prints which imports fail and why.
IMPORTS = """
import importlib, sys
for package, module in (word.split("=") for word in sys.argv[1:]):
    try:
        importlib.import_module(module)
    except Exception as error:
        print(f"{package}: {type(error).__name__}: {error}".splitlines()[0])
"""
SHOWN = 5  # packages named in a line before the rest are counted
CPU_BUILDS = "remove .venv and take both from one index: see `Without a GPU` in README.md"
# messages of the loader of shared libraries, and of packages whose libraries do not load
LOADER = (
    "undefined symbol|shared object file|not load this library|ailed to load lib|file too short|invalid ELF|GLIBC|sndfile library|"
    "multiarray failed"
)
OPTIONAL = {  # package: its purpose
    "torchjd": "further weightings",
    "silero-vad": "finds the pauses of long recordings",
    "kenlm": "what the search with a language model is compared with",
}
# torchaudio: the oldest version of torch that it loads with; tried with torch 2.11.0, 2.12.1, 2.13.0 and 2.14.1 on Linux, x86-64
OLDEST_TORCH = {"2.11.0": (2, 11), "2.11.1": (2, 13)}


@dataclass(frozen=True)
class Finding:
    """A line of the check: a component, its state, details, and the command that repairs or installs it."""

    component: str
    state: str  # found, missing, differs, broken
    detail: str
    command: str = ""

    def __str__(self) -> str:
        return f"{self.component:<12} {self.state:<8} {self.detail}{f': {self.command}' if self.command else ''}"


def version(package: str) -> str | None:
    """The installed version of a package, None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def bad_pair() -> str:
    """The known problem of the installed versions of torch and torchaudio, empty if there is none."""
    torch, torchaudio = version("torch"), version("torchaudio")
    if torch is None or torchaudio is None:
        return ""
    oldest = OLDEST_TORCH.get(torchaudio.split("+")[0])
    if oldest and tuple(int(number) for number in torch.split(".")[:2]) < oldest:
        return f"torchaudio {torchaudio} does not load with torch {torch}, it needs torch {oldest[0]}.{oldest[1]} or newer"
    return ""


def explain(error: BaseException) -> str:
    """One line about an error that the installation causes, and not m2asr or the user; empty for other errors."""
    causes = [error]
    while cause := causes[-1].__cause__ or (None if causes[-1].__suppress_context__ else causes[-1].__context__):
        causes.append(cause)
    problem = ""
    if isinstance(error, ModuleNotFoundError) and error.name in {module.split(".")[0] for module in MODULES.values()}:
        problem = f"the package {error.name} is not installed for {sys.executable}"
    elif isinstance(error, ImportError | OSError) and all(getattr(cause, "errno", None) is None for cause in causes):
        text = next((str(cause) for cause in reversed(causes) if re.search(LOADER, str(cause))), "")  # the first cause says most
        problem = text and (bad_pair() or _load_problem(text))
    return f"{problem}; `{SETUP}` in {ROOT} installs versions that work together, `make check` there tells more" if problem else ""


def constraints_used() -> Path:
    """The constraints file of this virtual environment, or constraints.txt if `make setup` did not make it."""
    stamp = Path(sys.prefix) / ".ready"
    name = stamp.read_text(encoding="utf-8").split("\n")[0] if stamp.is_file() else ""
    return ROOT / (name or "constraints.txt")


def findings(constraints: Path) -> Iterator[Finding]:
    """Check every component of the installation in turn.

    torch and torchaudio are loaded in separate processes, so that a library that crashes does not end this process.
    """
    running, oldest, newest = sys.version_info[:2], *PYTHONS
    supported = oldest <= running <= newest
    detail = f"{sys.version.split()[0]}, {sys.executable}" + ("" if supported else f"; 3.{oldest[1]} to 3.{newest[1]} are supported")
    yield Finding("python", "found" if supported else "broken", detail, "" if supported else f"{SETUP} PYTHON=python3.{newest[1]}")
    venv = ROOT / ".venv"
    if (venv / ".ready").is_file() and Path(sys.prefix).resolve() != venv.resolve():
        yield Finding("python", "differs", "not the python of .venv, which make and the recipes use", "make check")
    if version("m2asr") is None:
        yield Finding("m2asr", "missing", "not installed for this python", SETUP)
        return
    if missing := sorted(name for name in required() if version(name) is None):
        yield Finding("packages", "missing", ", ".join(missing), SETUP)
    else:
        yield from _packages()
        yield from _pins(constraints)
    if not {"torch", "torchaudio"} & set(missing):
        yield from _loads()
    pip = f"{_short(sys.executable)} -m pip install -c {_short(constraints)}"
    for package, purpose in OPTIONAL.items():
        yield _optional(package, version(package), purpose, f"{pip} {package}")
    yield _optional("espeak-ng", shutil.which("espeak-ng"), "phones of many languages", "apt-get install espeak-ng")


def required() -> dict[str, str]:
    """The packages that m2asr requires: {package: requirement}, such as {"torch": "torch<2.15,>=2.11"}."""
    lines = [line.split(";")[0].strip() for line in metadata.requires("m2asr") or [] if "extra ==" not in line]
    return {re.match(r"[\w.-]+", line)[0]: line for line in lines}


def pins(constraints: Path) -> dict[str, str]:
    """{package: version} of the lines with == in a constraints file that apply to this python and machine."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    pinned = {}
    for line in constraints.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            pin = Requirement(line.split("#")[0].strip())
        except InvalidRequirement:
            continue  # an option of pip
        exact = [specifier.version for specifier in pin.specifier if specifier.operator == "=="]
        if exact and (pin.marker is None or pin.marker.evaluate()):
            pinned[canonicalize_name(pin.name)] = exact[0]
    return pinned


def _packages() -> Iterator[Finding]:
    """Check that the required packages can be imported and have versions that setup.py allows."""
    imports = [f"{package}={module}" for package, module in MODULES.items() if package not in ("torch", "torchaudio")]
    result = _python(IMPORTS, *imports)
    if result.returncode or result.stdout:
        yield Finding("packages", "broken", "; ".join(result.stdout.splitlines()) or _cause(result.stderr), REMAKE)
        return
    from packaging.requirements import Requirement

    needed = required()
    for name, line in needed.items():
        if not Requirement(line).specifier.contains(version(name), prereleases=True):
            yield Finding(name, "broken", f"{version(name)}, but setup.py asks for {line}", SETUP)
    yield Finding("packages", "found", f"the {len(needed)} that m2asr needs, imported")


def _pins(constraints: Path) -> Iterator[Finding]:
    try:
        pinned = {name: (pin, version(name)) for name, pin in pins(constraints).items()}
    except ImportError:
        return  # packaging is missing, which _packages reports
    installed = {name: pair for name, pair in pinned.items() if pair[1] is not None}
    different = [f"{name} {present} ({pin})" for name, (pin, present) in installed.items() if present.split("+")[0] != pin]
    if not different:
        yield Finding("versions", "found", f"all {len(installed)} as in {constraints.name}, tested together")
        return
    listed = ", ".join(different[:SHOWN]) + (f" and {len(different) - SHOWN} more" if len(different) > SHOWN else "")
    yield Finding("versions", "differs", f"{len(different)} of {len(installed)} are not those of {constraints.name}: {listed}", SETUP)


def _loads() -> Iterator[Finding]:
    """Check that torch and torchaudio load, and find the devices that they can use."""
    loaded = _python("import torch; print(torch.__version__)")
    if loaded.returncode:
        yield Finding("torch", "broken", f"{version('torch')} does not load ({_cause(loaded.stderr)})", REMAKE)
        return
    yield Finding("torch", "found", f"{loaded.stdout.strip()}, loads")
    loaded = _python("import torch, torchaudio; print(torchaudio.__version__)")
    if loaded.returncode:
        cause = _cause(loaded.stderr)
        yield Finding("torchaudio", "broken", f"{bad_pair() or _load_problem(cause)} ({cause})", SETUP)
    else:
        yield Finding("torchaudio", "found", f"{loaded.stdout.strip()}, loads with it")
    devices = _python("from m2asr.train.precision import describe_devices; print(*describe_devices(), sep='\\n')")
    if devices.returncode:
        yield Finding("devices", "broken", _cause(devices.stderr), SETUP)
    for device, name in zip(("CPU", "GPU"), devices.stdout.splitlines(), strict=False):
        yield Finding(device, *(("found", name) if name != "none" else ("missing", "trains on the CPU")))


def _optional(component: str, installed: str | None, purpose: str, command: str) -> Finding:
    if installed:
        return Finding(component, "found", f"{installed}, {purpose}")
    return Finding(component, "missing", f"optional, {purpose}", command)


def _short(path: str | Path) -> str:
    """A path relative to the current folder if it lies in it, otherwise the path itself."""
    current = Path.cwd()
    return str(Path(path).relative_to(current) if Path(path).is_relative_to(current) else path)


def _load_problem(cause: str) -> str:
    if "libc10_cuda" in cause or "libtorch_cuda" in cause:
        return f"torchaudio {version('torchaudio')} needs the CUDA build of torch, and torch {version('torch')} is not one; {CPU_BUILDS}"
    return f"torch {version('torch')} or torchaudio {version('torchaudio')} does not load"


def _python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)


def _cause(stderr: str) -> str:
    """The first line of a traceback that names an error."""
    lines = [line for line in stderr.splitlines() if re.match(r"\w*(Error|Exception)\b", line)] or stderr.splitlines()[-1:]
    return re.sub(r"/\S*/(?=[^/\s]+\.so)", "", lines[0]) if lines else "it crashed"
