"""Runs ESPnet for tools/compare_espnet.py: its installation, statistics, training for a given time, and search on the dev sets."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from espnet_curves import Point, dev_error
from espnet_data import write_data
from m2asr.data.directory import read_table
from m2asr.errors import UserError
from m2asr.yaml_file import read_yaml

FOLDER = Path(__file__).resolve().parent / "espnet"
VERSIONS = FOLDER / "constraints.txt"
CHECKPOINTS = 15  # checkpoints of a training, at equal distances
TRIAL_STEPS = 20  # steps of the short training that measures the time of a step
AVERAGED = 3  # number of checkpoints that ESPnet averages at the end, the best by its own CER on dev
COSINE = "cosineannealingwarmuprestarts"  # the schedule of ESPnet that can end with the training
WARMUP = 6  # with this schedule, the warm-up takes a sixth of the steps
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 34), "MALLOC_TOP_PAD_": str(1 << 26)}  # glibc
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def run(command: Sequence[object], log: Path, **env: str) -> None:
    """Run a program on one thread with its output in `log`. Raises UserError with its last line if it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as file:
        result = subprocess.run(list(map(str, command)), stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **ONE_THREAD, **env})
    if result.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        raise UserError(f"{command[0]} failed: {next(filter(None, reversed(lines)), 'no output')}; see {log}")


def version() -> str:
    """The version of ESPnet that is compared."""
    return re.search(r"^espnet==(\S+)", VERSIONS.read_text(encoding="utf-8"), re.MULTILINE)[1]


def install(venv: Path, base: str) -> Path:
    """Make ESPnet's environment with the Python `base`, again whenever the file of versions changes; returns the environment's Python."""
    python, stamp = venv / "bin/python", venv / ".ready"
    content = hashlib.sha256(VERSIONS.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == content:
        return python
    if shutil.which(base) is None:
        raise UserError(f"--python {base}: no such program; ESPnet's versions were tested with Python 3.11")
    if venv.exists() and not (venv / "pyvenv.cfg").is_file():
        raise UserError(f"--venv {venv}: it exists and is no virtual environment; choose another folder")
    print(f"installing {VERSIONS.name} of {FOLDER} into {venv}; PyPI's builds are 3 GB to fetch", flush=True)
    log = venv.with_name(f"{venv.name}.log")
    run([base, "-m", "venv", "--clear", venv], log)
    pip = [python, "-m", "pip", "install", "--no-deps"]  # torch and ESPnet ask for two versions of setuptools; training needs neither
    tools = [line for line in VERSIONS.read_text(encoding="utf-8").split("\n") if line.startswith(("pip==", "setuptools==", "wheel=="))]
    run([*pip, *tools], log)
    run([*pip, "--no-build-isolation", "--requirement", VERSIONS], log)
    stamp.write_text(content, encoding="utf-8")
    return python


class Espnet:
    """ESPnet in the current folder, which is that of a recipe; its files are written to `out`."""

    def __init__(self, python: Path, out: Path, config: Path, options: Sequence[str], keep_memory: bool) -> None:
        self.python, self.out, self.config, self.options = python, out, config, list(options)
        self.environment = KEEP_MEMORY if keep_memory else {}

    def prepare(self, train: Sequence[str], dev: Sequence[str], data: Path, dump: Path) -> None:
        """Write the sets as ESPnet reads them, and let it collect lengths, mean and variance."""
        write_data(self.out / "data", train, dev, data, dump)
        stats = self.out / "stats"
        shutil.rmtree(stats, ignore_errors=True)
        batches = ["--batch_type", "unsorted", "--batch_size", 8, "--normalize", "none"]
        self._train(stats, self.out / "stats.log", [*self.options, "--collect_stats", "true", *batches])

    def train(self, name: str, minutes: float, seed: int) -> Path:
        """Train for a number of minutes of CPU time, estimated by a first short training; returns the folder of the run."""
        (trial,) = _clock(self._run(f"{name}_pace", seed, 1, ["--num_iters_per_epoch", TRIAL_STEPS]))
        step = trial["seconds"] / trial["steps"]
        per_epoch = math.ceil(60 * minutes / step / CHECKPOINTS)
        steps, options = per_epoch * CHECKPOINTS, ["--num_iters_per_epoch", per_epoch]
        if read_yaml(self.config).get("scheduler") == COSINE:
            for length in (f"first_cycle_steps={steps}", f"warmup_steps={steps // WARMUP}"):
                options += ["--scheduler_conf", length]
        print(f"ESPnet: {step:.2f} s per step, {steps} steps", flush=True)
        return self._run(name, seed, CHECKPOINTS, options)

    def curve(self, run_folder: Path, dev: Sequence[str], data: Path, min_words: int) -> list[Point]:
        """The error rates of a run's checkpoints, and of their average at the end, by greedy search."""
        ends = _clock(run_folder)
        seconds = {f"{end['epoch']}epoch": end["seconds"] for end in ends}
        average = run_folder / f"valid.cer_ctc.ave_{AVERAGED}best.pth"
        models = [run_folder / f"{name}.pth" for name in seconds] + [average]
        hypotheses = run_folder / "greedy"
        hypotheses.mkdir(exist_ok=True)
        search = [FOLDER / "greedy.py", run_folder / "config.yaml", self.out / "data/dev/feats.scp", hypotheses, *models]
        run([self.python, *search], self.out / f"{run_folder.name}_greedy.log")
        points = []
        for model in models:
            error = dev_error(read_table(hypotheses / model.stem), dev, data, min_words, hypotheses / model.stem)
            points.append(Point(seconds.get(model.stem, ends[-1]["seconds"]), error, model.stem))
        return points

    def _run(self, name: str, seed: int, epochs: int, options: Sequence[object]) -> Path:
        folder, stats = self.out / name, self.out / "stats"
        shutil.rmtree(folder, ignore_errors=True)
        _clock_file(folder).unlink(missing_ok=True)
        shapes = ["--train_shape_file", stats / "train/speech_shape", "--valid_shape_file", stats / "valid/speech_shape"]
        models = ["--max_epoch", epochs, "--keep_nbest_models", AVERAGED, epochs]  # keeps all, and averages the best AVERAGED
        normalize = ["--normalize_conf", f"stats_file={stats / 'train/feats_stats.npz'}"]
        self._train(folder, self.out / f"{name}.log", [*shapes, *normalize, *models, "--seed", seed, *options, *self.options])
        return folder

    def _train(self, folder: Path, log: Path, options: Sequence[object]) -> None:
        data, sets = self.out / "data", []
        for flag, name in (("train", "train"), ("valid", "dev")):
            for file in ("feats.scp,speech,kaldi_ark", "text,text,text"):
                sets += [f"--{flag}_data_path_and_name_and_type", data / name / file]
        fixed = ["--config", self.config, "--token_list", data / "tokens.txt", "--output_dir", folder]
        run([self.python, FOLDER / "train.py", _clock_file(folder), *fixed, *sets, *options], log, **self.environment)


def _clock_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.clock")


def _clock(folder: Path) -> list[dict[str, float]]:
    """Epoch, steps and CPU seconds so far at the end of every epoch of a run."""
    return [json.loads(line) for line in _clock_file(folder).read_text(encoding="utf-8").splitlines()]
