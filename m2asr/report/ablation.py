"""Ablations: the recipe's own run.sh trains, decodes and scores every row of a table, for several seeds and under one budget of audio."""

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
from m2asr.limits import Positive, Seed
from m2asr.names import FileName
from m2asr.objectives.build import resolve
from m2asr.train_checks import changed_keys
from m2asr.train_config import TrainConfig
from m2asr.yaml_file import read_yaml


class Row(Strict):
    """One row of an ablation: a training config and its changes, as a JSON merge patch (null removes a key).

    A row may consist of several runs, such as monolingual models. `parts` then holds a further patch for each of these runs.
    """

    base: str
    patch: dict[str, Any] = {}
    parts: dict[FileName, dict[str, Any]] = {}


class Ablation(Strict):
    """A table whose rows are trained for the same hours of audio and compared with the first row.

    `options` are options of run.sh for all runs, such as `langs`. Its `train_config` names the config whose features are computed first,
    which must be those of all rows; by default it is that of run.sh.
    """

    hours: Positive
    seeds: list[Seed] = Field([1, 2, 3], min_length=1)
    options: dict[str, str] = {}
    rows: dict[FileName, Row] = Field(min_length=1)

    def recipe_options(self, without: str = "") -> list[str]:
        """The words of `options` on a command line, without one of them."""
        return [word for name, value in self.options.items() if name != without for word in (f"--{name}", value)]


@dataclass
class Job:
    """One training run of a row. `member` is its name in `parts` where several runs form the row together, else it is empty."""

    row: str
    member: str
    seed: int
    config: dict[str, Any]

    @property
    def tag(self) -> str:
        return "_".join(word for word in (self.row, self.member, f"seed{self.seed}") if word)


def make_jobs(ablation: Ablation) -> Iterator[Job]:
    """Yield all runs: the first seed of every row, then the second seed of every row, and so on.

    Every row gets the same hours of audio through its encoder; the members of a row share them equally. Raises UserError where a base
    config cannot be read.
    """
    for seed in ablation.seeds:
        for name, row in ablation.rows.items():
            for member, patch in (row.parts or {"": {}}).items():
                config = merge_patch(merge_patch(read_yaml(row.base), row.patch), patch)
                budget = {"train": {"seed": seed, "hours": ablation.hours / max(1, len(row.parts)), "epochs": None}}
                yield Job(name, member, seed, merge_patch(config, budget))


def run_job(job: Job, folder: Path, options: Sequence[str] = ()) -> bool:
    """Train, decode and score one run in folder/tag, with further `options` of run.sh.

    A finished run is skipped, an interrupted run continues. Of a run of an archive there is no model, so that nothing is left to do.
    Returns False, and does nothing, where another process works on this run. Raises UserError where the run was begun with another config.
    """
    path = _config_path(job, folder)
    with lock(path.with_suffix(".lock")) as locked:
        if locked:
            if message := config_changes([job], folder):
                raise UserError(message)
            if (folder / job.tag / "results.json").is_file() and not (folder / job.tag / "model.pt").exists():
                return True
            text = yaml.safe_dump(job.config, sort_keys=False, allow_unicode=True, width=120)
            if not path.is_file() or path.read_bytes() != text.encode():
                with open_atomic(path) as file:
                    file.write(text)
            call_recipe("--stage", "tokens", "--expdir", str(folder), "--tag", job.tag, "--train_config", str(path), *options)
        return locked


@contextmanager
def helper_processes(arguments: Sequence[str], count: int, folder: Path) -> Iterator[None]:
    """Start `count` more processes that work on the same runs, and wait for them at the end. The cores are shared out equally.

    Their output goes to folder/log/process<number>.log. An error inside the block ends them. Raises UserError where one of them failed.
    """
    if count < 1:
        yield
        return
    os.environ["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // (count + 1)))
    logs = [folder / "log" / f"process{number}.log" for number in range(2, count + 2)]
    (folder / "log").mkdir(parents=True, exist_ok=True)
    print(f"== {count + 1} runs at the same time; output of the others: {logs[0]}{' and so on' if count > 1 else ''}", flush=True)
    processes: list[subprocess.Popen] = []
    try:
        for path in logs:
            with path.open("a", encoding="utf-8") as log:
                command = [sys.executable, "-m", "m2asr.bin.ablate", *arguments]
                processes.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT))
        yield
        codes = [process.wait() for process in processes]
    except BaseException:
        for process in processes:
            process.send_signal(signal.SIGINT)  # like Ctrl-C: it ends the recipe too, which can continue later
        for process in processes:
            process.wait()
        raise
    if failed := [str(path) for path, code in zip(logs, codes, strict=True) if code]:
        raise UserError(f"a run failed, see the end of {failed[0]}; the same command goes on from there")


def call_recipe(*options: str) -> None:
    """Run ./run.sh of the current folder.

    Raises UserError where there is no run.sh or where it fails, KeyboardInterrupt where it was interrupted.
    """
    if not Path("run.sh").is_file():
        raise UserError(f"{Path.cwd()}: no run.sh here; start this from the folder of a recipe, such as egs/mini")
    print("==", "./run.sh", *options, flush=True)
    code = subprocess.run(["./run.sh", *options], check=False).returncode
    if code in (130, -2):
        raise KeyboardInterrupt
    if code:
        raise UserError(f"./run.sh {' '.join(options)}: exit code {code}, see above; the same command goes on from there")


def finished_runs(jobs: Sequence[Job], folder: Path) -> dict[str, list[list[Path]]]:
    """The folders of scored runs by row: a list of folders for each seed of which all members were scored with the job's config."""
    rows: dict[str, dict[int, list[Job]]] = {}
    for job in jobs:
        rows.setdefault(job.row, {}).setdefault(job.seed, []).append(job)
    scored = {
        row: [[folder / job.tag for job in members] for members in seeds.values() if all(_is_finished(job, folder) for job in members)]
        for row, seeds in rows.items()
    }
    return {row: runs for row, runs in scored.items() if runs}


def config_changes(jobs: Sequence[Job], folder: Path) -> str | None:
    """A message about the runs that were begun with another config than their job has; None where there are none."""
    keys_by_tag = {job.tag: keys for job in jobs if (keys := _changed_keys(job, folder))}
    if not keys_by_tag:
        return None
    keys = sorted(set().union(*keys_by_tag.values()))
    return (
        f"{folder}: {_first_three(list(keys_by_tag))} had other values of {_first_three(keys)}; restore them, remove the folders of these "
        "runs to train them again, or give another --expdir"
    )


def _is_finished(job: Job, folder: Path) -> bool:
    return (folder / job.tag / "results.json").is_file() and not _changed_keys(job, folder)


def _changed_keys(job: Job, folder: Path) -> list[str]:
    """Dotted names of the values in which a run's config differs from that of its job; none where nothing was trained yet."""
    if not any((folder / job.tag / name).exists() for name in ("checkpoints", "results.json")):
        return []
    path = _config_path(job, folder)
    before = read_yaml(path)
    if before == job.config:
        return []
    # a default that is written out is no change
    resolved = (resolve(check_config(TrainConfig, config, str(path))).model_dump(mode="json") for config in (before, job.config))
    return changed_keys(*resolved)


def _config_path(job: Job, folder: Path) -> Path:
    """The file of the config that a run was begun with."""
    return folder / "conf" / f"{job.tag}.yaml"


def _first_three(names: Sequence[str]) -> str:
    """The first three names, and the number of the rest."""
    rest = len(names) - 3
    return ", ".join(names[:3]) + (f" and {rest} more" if rest > 0 else "")
