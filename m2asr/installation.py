"""Whether this installation works: versions, pairs that do not work together, what is missing, and the command that mends it.

Needs nothing but Python, so that it can tell what else is not there.
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
MODULES = {  # package that m2asr needs: the module of it that is imported
    "numpy": "numpy",
    "soundfile": "soundfile",
    "kaldiio": "kaldiio",
    "sentencepiece": "sentencepiece",
    "espnet_tts_frontend": "tacotron_cleaner.cleaners",
    "num2words": "num2words",
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
# Imports modules, given as package=module, and prints which of them fail and why.
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
# what the loader of shared libraries says, and packages that could not load theirs
LOADER = (
    "undefined symbol|shared object file|not load this library|ailed to load lib|file too short|invalid ELF|GLIBC|sndfile library|"
    "multiarray failed"
)
OPTIONAL = {  # package: what it is for
    "torchjd": "further weightings",
    "silero-vad": "finds the pauses of long recordings",
    "kenlm": "what the search with a language model is compared with",
}
# torchaudio: the oldest version of torch that it loads with; tried with torch 2.11.0, 2.12.1, 2.13.0 and 2.14.1 on Linux, x86-64
OLDEST_TORCH = {"2.11.0": (2, 11), "2.11.1": (2, 13)}


@dataclass(frozen=True)
class Finding:
    """A line of the check: a part, its state, what stands here, and the command that mends it or installs it."""

    part: str
    state: str  # found, missing, differs, broken
    what: str
    command: str = ""

    def __str__(self) -> str:
        return f"{self.part:<12} {self.state:<8} {self.what}{f': {self.command}' if self.command else ''}"


def version(package: str) -> str | None:
    """The installed version of a package, None without it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def bad_pair() -> str:
    """What is known to be wrong with the installed versions of torch and torchaudio, empty where nothing is."""
    torch, torchaudio = version("torch"), version("torchaudio")
    if torch is None or torchaudio is None:
        return ""
    oldest = OLDEST_TORCH.get(torchaudio.split("+")[0])
    if oldest and tuple(int(number) for number in torch.split(".")[:2]) < oldest:
        return f"torchaudio {torchaudio} does not load with torch {torch}, it needs torch {oldest[0]}.{oldest[1]} or newer"
    return ""


def explain(error: BaseException) -> str:
    """What to tell of an error that comes from the installation and not from m2asr or the user, in one line; empty for other errors."""
    causes = [error]
    while cause := causes[-1].__cause__ or (None if causes[-1].__suppress_context__ else causes[-1].__context__):
        causes.append(cause)
    what = ""
    if isinstance(error, ModuleNotFoundError) and error.name in {module.split(".")[0] for module in MODULES.values()}:
        what = f"the package {error.name} is not installed for {sys.executable}"
    elif isinstance(error, ImportError | OSError) and all(getattr(cause, "errno", None) is None for cause in causes):
        text = next((str(cause) for cause in reversed(causes) if re.search(LOADER, str(cause))), "")  # the first cause says most
        what = text and (bad_pair() or _load_problem(text))
    return f"{what}; `{SETUP}` in {ROOT} installs what works together, `make check` there tells more" if what else ""


def constraints_used() -> Path:
    """The constraints file that the virtual environment was made from; constraints.txt for any other python."""
    stamp = Path(sys.prefix) / ".ready"
    name = stamp.read_text(encoding="utf-8").split("\n")[0] if stamp.is_file() else ""
    return ROOT / (name or "constraints.txt")


def findings(constraints: Path) -> Iterator[Finding]:
    """Every part of the installation, one after the other.

    torch and torchaudio are loaded in processes of their own, so that a library that crashes takes only its own process with it.
    """
    here, oldest, newest = sys.version_info[:2], *PYTHONS
    supported = oldest <= here <= newest
    what = f"{sys.version.split()[0]}, {sys.executable}" + ("" if supported else f"; 3.{oldest[1]} to 3.{newest[1]} are supported")
    yield Finding("python", "found" if supported else "broken", what, "" if supported else f"{SETUP} PYTHON=python3.{newest[1]}")
    venv = ROOT / ".venv"
    if (venv / ".ready").is_file() and Path(sys.prefix).resolve() != venv.resolve():
        yield Finding("python", "differs", "not that of .venv, with which make and the recipes run", "make check")
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
    """{package: requirement} of what m2asr cannot do without, such as {"torch": "torch<2.15,>=2.11"}."""
    lines = [line.split(";")[0].strip() for line in metadata.requires("m2asr") or [] if "extra ==" not in line]
    return {re.match(r"[\w.-]+", line)[0]: line for line in lines}


def pins(constraints: Path) -> dict[str, str]:
    """{package: version} of the lines with == of a constraints file that hold for this python and machine."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    pinned = {}
    for line in constraints.read_text(encoding="utf-8").splitlines():
        try:
            pin = Requirement(line.split("#")[0].strip())
        except InvalidRequirement:
            continue  # an option of pip
        exact = [specifier.version for specifier in pin.specifier if specifier.operator == "=="]
        if exact and (pin.marker is None or pin.marker.evaluate()):
            pinned[canonicalize_name(pin.name)] = exact[0]
    return pinned


def _packages() -> Iterator[Finding]:
    """Whether the packages are there, in versions that setup.py allows, and can be imported."""
    others = [f"{package}={module}" for package, module in MODULES.items() if package not in ("torch", "torchaudio")]
    done = _python(IMPORTS, *others)
    if done.returncode or done.stdout:
        yield Finding("packages", "broken", "; ".join(done.stdout.splitlines()) or _cause(done.stderr), REMAKE)
        return
    from packaging.requirements import Requirement

    needed = required()
    for name, line in needed.items():
        if not Requirement(line).specifier.contains(version(name), prereleases=True):
            yield Finding(name, "broken", f"{version(name)}, but setup.py asks for {line}", SETUP)
    yield Finding("packages", "found", f"the {len(needed)} that m2asr needs, imported")


def _pins(constraints: Path) -> Iterator[Finding]:
    try:
        pinned = {name: (wanted, version(name)) for name, wanted in pins(constraints).items()}
    except ImportError:
        return  # without packaging, which _packages tells
    installed = {name: pair for name, pair in pinned.items() if pair[1] is not None}
    others = [f"{name} {there} ({wanted})" for name, (wanted, there) in installed.items() if there.split("+")[0] != wanted]
    if not others:
        yield Finding("versions", "found", f"all {len(installed)} as in {constraints.name}, tested together")
        return
    told = ", ".join(others[:SHOWN]) + (f" and {len(others) - SHOWN} more" if len(others) > SHOWN else "")
    yield Finding("versions", "differs", f"{len(others)} of {len(installed)} are not those of {constraints.name}: {told}", SETUP)


def _loads() -> Iterator[Finding]:
    """Whether torch and torchaudio load, and on what they can run."""
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
    for part, what in zip(("CPU", "GPU"), devices.stdout.splitlines(), strict=False):
        yield Finding(part, *(("found", what) if what != "none" else ("missing", "trains on the CPU")))


def _optional(part: str, installed: str | None, purpose: str, command: str) -> Finding:
    return Finding(part, "found", f"{installed}, {purpose}") if installed else Finding(part, "missing", f"optional, {purpose}", command)


def _short(path: str | Path) -> str:
    """A path as seen from here where that is below here."""
    here = Path.cwd()
    return str(Path(path).relative_to(here) if Path(path).is_relative_to(here) else path)


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
