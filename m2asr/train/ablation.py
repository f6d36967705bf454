"""Many runs of a recipe under one budget: every row of a table, for several seeds, by the recipe's own run.sh."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from m2asr.config import Strict, merge_patch
from m2asr.errors import UserError
from m2asr.files import lock, open_atomic
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

    Returns False, and does nothing, where another process is at it.
    """
    config = folder / "conf" / f"{job.tag}.yaml"
    with lock(config.with_suffix(".lock")) as mine:
        if mine:
            text = yaml.safe_dump(job.config, sort_keys=False, allow_unicode=True, width=120)
            if not config.is_file() or config.read_text(encoding="utf-8") != text:
                with open_atomic(config) as file:
                    file.write(text)
            call_recipe("--stage", "tokens", "--expdir", str(folder), "--tag", job.tag, "--train_config", str(config))
        return mine


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


def finished(ablation: Ablation, folder: Path) -> dict[str, list[list[Path]]]:
    """The folders of every row's scored runs: per row those seeds of which all parts are there."""
    found: dict[str, dict[int, list[Path]]] = {name: {} for name in ablation.rows}
    for job in jobs(ablation):
        found[job.row].setdefault(job.seed, []).append(folder / job.tag)
    scored = {
        name: [runs for runs in seeds.values() if all((run / "results.json").is_file() for run in runs)] for name, seeds in found.items()
    }
    return {name: runs for name, runs in scored.items() if runs}
