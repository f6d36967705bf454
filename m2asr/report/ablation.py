"""Many runs of a recipe under one budget: every row of a table, for several seeds, by the recipe's own run.sh."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from m2asr.config import Strict, check_config, merge_patch
from m2asr.errors import UserError
from m2asr.files import lock, open_atomic
from m2asr.objectives.build import resolve
from m2asr.train_checks import changed_keys
from m2asr.train_config import TrainConfig
from m2asr.yaml_file import read_yaml


class Row(Strict):
    """One row of an ablation: a training config and what is changed in it, as a JSON merge patch (null removes a key).

    A row that is made of several runs, such as monolingual models, has a further patch for each of them under `parts`.
    """

    base: str
    patch: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}


class Ablation(Strict):
    """Rows that are trained for the same hours of audio and compared with the first of them."""

    hours: float = Field(gt=0)
    seeds: list[int] = Field([1, 2, 3], min_length=1)
    rows: dict[str, Row] = Field(min_length=1)


@dataclass
class Job:
    """One training run: `part` is one of several that form a row together, such as monolingual models; else empty."""

    row: str
    part: str
    seed: int
    config: dict[str, Any]

    @property
    def tag(self) -> str:
        return "_".join(word for word in (self.row, self.part, f"seed{self.seed}") if word)


def jobs(ablation: Ablation) -> Iterator[Job]:
    """All runs, the first seed of every row before the second of any. Raises UserError for a base config that cannot be read.

    Every row gets the same hours of audio through its encoder; the parts of a row share them equally.
    """
    for seed in ablation.seeds:
        for name, row in ablation.rows.items():
            for part, patch in (row.parts or {"": {}}).items():
                config = merge_patch(merge_patch(read_yaml(row.base), row.patch), patch)
                budget = {"train": {"seed": seed, "hours": ablation.hours / max(1, len(row.parts)), "epochs": None}}
                yield Job(name, part, seed, merge_patch(config, budget))


def run_job(job: Job, folder: Path) -> bool:
    """Train, decode and score one run in folder/tag; a finished one is skipped, an interrupted one goes on.

    Returns False, and does nothing, where another process is at it. Raises UserError where it was begun with another config.
    """
    config = _config_of(job, folder)
    with lock(config.with_suffix(".lock")) as mine:
        if mine:
            if found := changes([job], folder):
                raise UserError(found)
            text = yaml.safe_dump(job.config, sort_keys=False, allow_unicode=True, width=120)
            if not config.is_file() or config.read_text(encoding="utf-8") != text:
                with open_atomic(config) as file:
                    file.write(text)
            call_recipe("--stage", "tokens", "--expdir", str(folder), "--tag", job.tag, "--train_config", str(config))
        return mine


@contextmanager
def helpers(arguments: Sequence[str], count: int, folder: Path) -> Iterator[None]:
    """Let `count` more processes work on the same runs, and wait for them; each with its share of the cores.

    Their output goes to folder/log/process<number>.log. They end when the block ends with an error. Raises UserError where one of them
    failed.
    """
    if count < 1:
        yield
        return
    os.environ["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // (count + 1)))
    logs = [folder / "log" / f"process{number}.log" for number in range(2, count + 2)]
    (folder / "log").mkdir(parents=True, exist_ok=True)
    print(f"== {count + 1} runs at the same time; output of the others: {logs[0]}{' and so on' if count > 1 else ''}", flush=True)
    started: list[subprocess.Popen] = []
    try:
        for path in logs:
            with path.open("a", encoding="utf-8") as log:
                command = [sys.executable, "-m", "m2asr.bin.ablate", *arguments]
                started.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT))
        yield
        codes = [process.wait() for process in started]
    except BaseException:
        for process in started:
            process.send_signal(signal.SIGINT)  # as Ctrl-C: its recipe ends with it, and goes on from there
        for process in started:
            process.wait()
        raise
    if failed := [str(path) for path, code in zip(logs, codes, strict=True) if code]:
        raise UserError(f"a run failed, see the end of {failed[0]}; the same command goes on from there")


def call_recipe(*options: str) -> None:
    """Run ./run.sh of the present folder. Raises UserError if there is none or if it fails, KeyboardInterrupt if it was interrupted."""
    if not Path("run.sh").is_file():
        raise UserError(f"{Path.cwd()}: no run.sh here; start this from the folder of a recipe, such as egs/mini")
    print("==", "./run.sh", *options, flush=True)
    code = subprocess.run(["./run.sh", *options], check=False).returncode
    if code in (130, -2):
        raise KeyboardInterrupt
    if code:
        raise UserError(f"./run.sh {' '.join(options)}: exit code {code}, see above; the same command goes on from there")


def finished(wanted: Sequence[Job], folder: Path) -> dict[str, list[list[Path]]]:
    """The folders of every row's scored runs: per row those seeds of which all parts are there, with the config that is wanted."""
    found: dict[str, dict[int, list[Job]]] = {}
    for job in wanted:
        found.setdefault(job.row, {}).setdefault(job.seed, []).append(job)
    scored = {
        name: [[folder / job.tag for job in parts] for parts in seeds.values() if all(_is_finished(job, folder) for job in parts)]
        for name, seeds in found.items()
    }
    return {name: runs for name, runs in scored.items() if runs}


def changes(wanted: Sequence[Job], folder: Path) -> str | None:
    """A line on the runs that were begun with another config than is wanted now; None where there are none."""
    found = {job.tag: keys for job in wanted if (keys := _changed(job, folder))}
    if not found:
        return None
    keys = sorted(set().union(*found.values()))
    return (
        f"{folder}: {_some(list(found))} had other values of {_some(keys)}; restore them, remove the folders of these runs to train them "
        "again, or give another --expdir"
    )


def _is_finished(job: Job, folder: Path) -> bool:
    return (folder / job.tag / "results.json").is_file() and not _changed(job, folder)


def _changed(job: Job, folder: Path) -> list[str]:
    """Dotted names of the values that a run was begun with and that the job wants otherwise."""
    if not any((folder / job.tag / name).exists() for name in ("checkpoints", "results.json")):
        return []
    path = _config_of(job, folder)
    before = read_yaml(path)
    if before == job.config:
        return []
    # defaults may be written out or not
    both = (resolve(check_config(TrainConfig, one, str(path))).model_dump(mode="json") for one in (before, job.config))
    return changed_keys(*both)


def _config_of(job: Job, folder: Path) -> Path:
    """Where the config that a run was begun with is kept."""
    return folder / "conf" / f"{job.tag}.yaml"


def _some(names: Sequence[str]) -> str:
    """Not more than three of them."""
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")
