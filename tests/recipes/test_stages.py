"""Stages of a recipe: finished stages are skipped, a failure is reported with the command that goes on, and nothing runs after it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess

import pytest

from tests.recipes.conftest import Toy
from tests.recipes.recipe import cpu_seconds

EVERYTHING = ["data", "tokens", "train", "decode"]
PROGRAM = """
import sys, time
try:
    open("started", "w")
    time.sleep(60)
except KeyboardInterrupt:
    print("saved")
    sys.exit(130)
"""


def test_a_second_run_does_nothing(toy: Toy) -> None:
    assert toy.run().returncode == 0
    assert toy.ran() == EVERYTHING
    result = toy.run()
    assert result.returncode == 0 and toy.ran() == []
    assert result.stdout.count("skipped") == 4


@pytest.mark.parametrize(
    ("options", "again"),
    [
        (["--beam", "9"], ["decode"]),
        (["--set", "a=b"], ["train", "decode"]),
        (["--nj", "7"], []),
        (["--corpus", "other"], EVERYTHING),
        (["--force"], EVERYTHING),
        (["--force", "--stage", "train"], ["train", "decode"]),
        (["--tag", "second"], ["tokens", "train", "decode"]),
    ],
)
def test_stages_whose_options_changed_run_again(toy: Toy, options: list[str], again: list[str]) -> None:
    (toy.folder / "other").write_text("other\n")
    toy.run()
    toy.ran()
    assert toy.run(*options).returncode == 0
    assert toy.ran() == again


def test_a_changed_config_file_runs_again(toy: Toy) -> None:
    toy.run()
    toy.ran()
    (toy.folder / "conf/train.yaml").write_text("epochs: 9\n")
    toy.run()
    assert toy.ran() == ["tokens", "train", "decode"]


def test_removed_results_are_made_again(toy: Toy) -> None:
    toy.run()
    toy.ran()
    for path in (toy.folder / "data").iterdir():
        path.unlink()
    (toy.folder / "data").rmdir()
    toy.run()
    assert toy.ran() == EVERYTHING


def test_a_stage_run_on_its_own_makes_the_later_ones_stale(toy: Toy) -> None:
    toy.run()
    toy.run("--stage", "tokens", "--stop_stage", "tokens", "--force")
    toy.ran()
    toy.run("--stage", "train")
    assert toy.ran() == ["train", "decode"]


def test_stages_that_run_sh_sources_work_like_those_in_it(toy: Toy) -> None:
    run = toy.folder / "run.sh"
    head, shared = run.read_text().split("if stage 2 train")
    (toy.folder / "shared.sh").write_text("if stage 2 train" + shared)
    run.write_text(head + ". ./shared.sh\n")
    assert "  3 decode       search\n" in toy.run("--help").stdout
    assert 'echo "beam 9"' in toy.run("--dry_run", "--beam", "9").stdout
    assert toy.run().returncode == 0
    assert toy.ran() == EVERYTHING
    for options, again in (([], []), (["--beam", "9"], ["decode"]), (["--stage", "train", "--set", "a=b"], ["train", "decode"])):
        assert toy.run(*options).returncode == 0
        assert toy.ran() == again
    toy.hook("false\n")
    assert "error: stage 2 train failed, exit code 1 (hook.sh:1: false)" in toy.run("--force").stderr


@pytest.mark.parametrize(
    "failure",
    [
        "false",
        "f() { false; echo after >>ran; }; f",
        "false | cat",
        "x=$(false)",
        "x=$(false; echo after >>ran)",
        "(false; echo after >>ran)",
        "no_such_command",
        'echo "$undefined"',
        "exit 7",
        "python -c 'raise SystemExit(\"broken\")'",
    ],
)
def test_the_first_failure_ends_the_recipe(toy: Toy, failure: str) -> None:
    toy.hook(f"echo before the failure\n{failure}\necho after >>ran\n")
    result = toy.run()
    assert result.returncode not in (0, 130)
    assert toy.ran() == ["data", "tokens"]
    assert "before the failure" in result.stderr.split("last lines of exp/train/log/2.train.log")[1]
    assert "error: stage 2 train failed" in result.stderr and "./run.sh --stage train" in result.stderr
    toy.hook("")
    assert toy.run().returncode == 0
    assert toy.ran() == ["train", "decode"]


def test_the_printed_command_goes_on_where_it_failed(toy: Toy) -> None:
    toy.hook("false\n")
    (toy.folder / "my corpus").write_text("x\n")
    result = toy.run("--corpus", "my corpus", "--set", "a=b c=d", "--beam=9")
    command = result.stderr.strip().splitlines()[-1].split("when it is mended: ")[1]
    toy.hook("")
    toy.ran()
    assert subprocess.run(command, shell=True, cwd=toy.folder, env=toy.environment, stdout=subprocess.DEVNULL).returncode == 0
    assert toy.ran() == ["train", "decode"]
    assert (toy.folder / "exp/train/model").read_text() == "a=b\nc=d\n"
    assert (toy.folder / "exp/train/hypotheses").read_text() == "beam 9\n"
    toy.run("--corpus", "my corpus", "--set", "a=b c=d", "--beam=9")
    assert toy.ran() == []


def test_a_failed_rerun_is_not_taken_for_the_old_success(toy: Toy) -> None:
    toy.run()
    toy.ran()
    toy.hook("false\n")
    toy.run("--stage", "train", "--set", "a=b")
    toy.hook("")
    toy.run()
    assert toy.ran() == ["train", "decode"]


def test_missing_corpus_names_the_command_that_fetches_it(toy: Toy) -> None:
    run = toy.folder / "run.sh"
    commands = ["python -m m2asr.bin.download librispeech --out /corpora", "python -m m2asr.bin.download aishell1 --out /corpora"]
    header = "".join(f"#   {command}\n" for command in commands)
    run.write_text(run.read_text().replace("\ncd ", f"{header}\ncd ", 1).replace("beam=4", "aishell=corpus\nbeam=4", 1))
    run.write_text(run.read_text().replace('need "$corpus" --corpus\n', 'need "$corpus" --corpus\n  need "$aishell" --aishell\n', 1))
    for option, command in zip(("--corpus", "--aishell"), commands, strict=True):
        message = toy.run(option, "/nowhere").stderr
        assert message == f"error: {option} /nowhere: no such file or folder; say where it is with {option}, or fetch it: {command}\n"


def test_missing_corpus_and_missing_inputs_name_the_remedy(toy: Toy) -> None:
    start = cpu_seconds()
    result = toy.run("--corpus", "/nowhere")
    assert cpu_seconds() - start < 1
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and "--corpus /nowhere: no such" in result.stderr
    assert "--corpus" in toy.run("--corpus=").stderr
    result = toy.run("--stage", "tokens")
    assert result.returncode == 1 and toy.ran() == []
    assert result.stderr.startswith("error: data/text: missing; stage data makes it: ./run.sh --stage data --stop_stage data")
    assert result.stderr in toy.log("1.tokens.log")


def test_the_log_holds_everything_in_order(toy: Toy) -> None:
    toy.hook("for i in {1..50000}; do echo line $i; done\necho to stderr >&2\n")
    result = toy.run()
    lines = [f"line {i}" for i in range(1, 50001)] + ["to stderr"]
    assert toy.log("2.train.log").splitlines()[-len(lines) :] == lines
    assert result.stdout.count("\nline ") == 50000
    assert "echo train >>ran" in toy.log("2.train.log")  # the log begins with the commands


def test_progress_is_seen_on_a_terminal_and_its_last_state_is_logged(toy: Toy) -> None:
    toy.hook('python -c \'import os, sys; sys.stderr.write("bar 1\\rbar 2\\r" + os.environ["M2ASR_PROGRESS"] + " bar 3\\n")\'\n')
    master, slave = pty.openpty()
    terminal = {"stdin": slave, "stdout": slave, "stderr": slave}
    process = subprocess.Popen(["./run.sh"], cwd=toy.folder, env=toy.environment, start_new_session=True, **terminal)
    os.close(slave)
    output = b""
    while True:
        try:
            output += os.read(master, 65536)
        except OSError:  # the other end is closed
            break
    os.close(master)
    assert process.wait(timeout=30) == 0
    assert b"bar 1\rbar 2\r1 bar 3" in output
    assert "\n1 bar 3\n" in toy.log("2.train.log") and "bar 1" not in toy.log("2.train.log")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_interrupted_stage_is_not_finished(toy: Toy, number: signal.Signals, code: int) -> None:
    toy.hook('python -c \'import time; open("started", "w"); time.sleep(60)\'\necho after >>ran\n')
    process = toy.start()
    toy.wait_for("started")
    result = toy.stop(process, number)
    assert result.returncode == code
    assert "stage 2 train: interrupted; go on with: ./run.sh --stage train" in result.stderr
    assert toy.ran() == ["data", "tokens"]
    toy.hook("")
    assert toy.run().returncode == 0
    assert toy.ran() == ["train", "decode"]


@pytest.mark.parametrize(
    ("number", "message"), [(signal.SIGKILL, "most likely since memory ran out: lower"), (signal.SIGSEGV, "crashed (signal 11)")]
)
def test_a_killed_or_crashed_command_is_not_called_interrupted(toy: Toy, number: signal.Signals, message: str) -> None:
    toy.hook(f"python -c 'import os; os.kill(os.getpid(), {int(number)})'")
    result = toy.run()
    assert result.returncode == 128 + number
    assert message in result.stderr and "interrupted" not in result.stderr and "./run.sh --stage train" in result.stderr


def test_the_output_of_a_command_after_ctrl_c_is_logged(toy: Toy) -> None:
    (toy.folder / "program.py").write_text(PROGRAM)
    toy.hook("python program.py\necho after >>ran\n")
    process = toy.start()
    toy.wait_for("started")
    result = toy.stop(process, signal.SIGINT)
    assert result.returncode == 130 and "saved" in result.stdout and "saved" in toy.log("2.train.log")
    assert toy.ran() == ["data", "tokens"]


def test_after_kill_9_the_stage_runs_again(toy: Toy) -> None:
    toy.hook("touch started\nsleep 60\n")
    process = toy.start()
    toy.wait_for("started")
    toy.stop(process, signal.SIGKILL)
    toy.hook("")
    toy.ran()
    assert toy.run().returncode == 0
    assert toy.ran() == ["train", "decode"]


def test_two_runs_of_one_stage_do_not_mix(toy: Toy) -> None:
    toy.hook("touch started\nsleep 60\n")
    process = toy.start()
    toy.wait_for("started")
    result = toy.run()
    assert result.returncode == 2 and "another process" in result.stderr
    toy.stop(process, signal.SIGKILL)


def test_an_error_in_stage_itself_ends_the_recipe(toy: Toy) -> None:
    (toy.folder / "exp/train").mkdir(parents=True)
    (toy.folder / "exp/train/log").write_text("a file where a folder should be")
    result = toy.run()
    assert result.returncode == 2 and "exp/train/log/0.data.log" in result.stderr
    assert toy.ran() == []
    run = toy.folder / "run.sh"
    run.write_text(run.read_text().replace('"train" "$exp"; then', '"train"; then'))
    result = toy.run("--expdir", "other")
    assert result.returncode == 2 and "write" in result.stderr
    assert toy.ran() == ["data", "tokens"]


def test_a_stage_whose_results_a_later_one_reads_leaves_those_between_alone(toy: Toy) -> None:
    run = (toy.folder / "run.sh").read_text()
    body = '  mkdir -p "$exp/lm"\n  echo "$words" >"$exp/lm/words"\n  echo lm >>ran\n'
    extra = f'if stage 1 lm "count words" "$exp/lm" decode; then\n{body}fi\n\n'
    run = run.replace("if stage 2 train", extra + "if stage 2 train").replace("beam=4 ", "words=2   # of the model\nbeam=4 ")
    (toy.folder / "run.sh").write_text(run)
    assert toy.run().returncode == 0
    assert toy.ran() == ["data", "tokens", "lm", "train", "decode"]
    assert toy.run("--words", "3").returncode == 0
    assert toy.ran() == ["lm", "decode"]
    assert toy.run("--words", "4", "--stage", "lm", "--stop_stage", "lm").returncode == 0
    assert toy.ran() == ["lm"]
    assert toy.run("--words", "4").returncode == 0
    assert toy.ran() == ["decode"]  # it reads results that are newer
    assert toy.run("--words", "4").returncode == 0
    assert toy.ran() == []
