"""All entry points: strict options, one line per mistake, exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from m2asr.bin.command import Parser
from m2asr.errors import UserError
from tests.recipes.recipe import cpu_seconds

ROOT = Path(__file__).resolve().parents[2]
ENTRY_POINTS = sorted(path.stem for path in (ROOT / "m2asr/bin").glob("*.py") if path.stem not in ("__init__", "command"))

PROGRAM = """
import errno, sys, time
from m2asr.bin.command import run
from m2asr.errors import UserError

def main(argv):
    {body}

run(main)
"""


def parser() -> Parser:
    parser = Parser(prog="tool", description="A tool.")
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--data_dir", type=Path)
    parser.add_argument("--count", type=int, default=1)
    return parser


def start(body: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM.format(body=body)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def outcome(body: str) -> tuple[int, str]:
    process = start(body)
    _, err = process.communicate(timeout=30)
    return process.returncode, err


@pytest.mark.parametrize("args", [["--data-dir", "x-y_z"], ["--data_dir", "x-y_z"], ["--data-dir=x-y_z"], ["--data_dir=x-y_z"]])
def test_dashes_and_underscores_in_option_names(args: list[str]) -> None:
    assert parser().parse_args(args).data_dir == Path("x-y_z")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--cuont", "3"], ["--cuont", "did you mean --count?"]),
        (["--zzz"], ["--zzz", "--data_dir", "--count"]),
        (["--count"], ["--count", "expected"]),
        (["--count", "x"], ["--count", "'x'"]),
        (["--coun", "3"], ["--coun", "--count"]),
    ],
)
def test_a_wrong_option_is_named_with_the_nearest(args: list[str], words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        parser().parse_args(args)
    assert error.value.exit_code == 2 and "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ("return None", 0, ""),
        ("return 3", 3, ""),
        ("raise UserError('text:3: no id; give one')", 1, "error: text:3: no id; give one\n"),
        ("raise UserError('no option', exit_code=2)", 2, "error: no option\n"),
        ("raise OSError(errno.ENOSPC, 'No space left', 'exp/model.pt')", 1, "error: cannot write exp/model.pt: No space left"),
    ],
)
def test_outcomes_become_exit_codes(body: str, code: int, message: str) -> None:
    returncode, err = outcome(body)
    assert returncode == code and err.startswith(message) and "Traceback" not in err


def test_a_bug_is_not_hidden() -> None:
    code, err = outcome("return {}['key']")
    assert code == 1 and "Traceback" in err and "KeyError" in err


def test_ctrl_c_is_one_line(tmp_path: Path) -> None:
    process = start("print('ready', flush=True); time.sleep(60)")
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and err.count("\n") == 1 and err.startswith("interrupted")


def test_a_closed_pipe_is_silent() -> None:
    process = start("[print('line', flush=True) for _ in range(100000)]")
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait(timeout=30) == 141


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_every_entry_point_explains_itself_and_refuses_unknown_options_at_once(name: str) -> None:
    command = [sys.executable, "-m", f"m2asr.bin.{name}"]
    start = cpu_seconds()
    wrong = subprocess.run([*command, "--no_such_option"], cwd=ROOT, capture_output=True, text=True)
    assert cpu_seconds() - start < 1
    assert wrong.returncode == 2 and wrong.stderr.startswith("error: ") and wrong.stderr.count("\n") == 1, wrong.stderr
    usage = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert usage.returncode == 0 and f"python -m m2asr.bin.{name} " in usage.stdout
