"""The log of a run while it trains: progress bar, train.jsonl, TensorBoard."""

from __future__ import annotations

import json
import math
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from m2asr.errors import UserError
from m2asr.files import open_atomic
from m2asr.objectives.objective import mean
from m2asr.progress import visible
from m2asr.train_config import SINGLE

if TYPE_CHECKING:
    from m2asr.train.outcome import Outcome

QUIET = 10.0  # seconds between two lines of progress where there is no terminal, so that a log file stays readable


class TrainLog:
    """Collects steps and writes them to train.jsonl and TensorBoard. A resumed run keeps the lines up to step `start`.

    There is a line per `every` steps. Before a checkpoint and before the dev sets there is another line, where steps are not yet in a line.
    Losses and metrics are means over the steps since the line before. A step whose loss or gradient is not finite changes no parameter, and
    is left out of the means. `conflict` holds `Conflicts.line` of a measured step. Time spent on dev sets counts neither in speed nor in
    waiting.
    """

    def __init__(self, exp: Path, total_steps: int, start: int, every: int) -> None:
        self.exp, self.total, self.every, self.start = exp, total_steps, every, start
        self.means: dict[str, dict[str, Any]] = {}  # metrics of the last line, by objective

    def __enter__(self) -> TrainLog:
        from torch.utils.tensorboard import SummaryWriter

        path = self.exp / "train.jsonl"
        lines = [line for line in read_log(self.exp) if line["step"] <= self.start]
        with open_atomic(path) as file:  # steps after the checkpoint will be run again
            file.writelines(json.dumps(line) + "\n" for line in lines)
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed in __exit__
        self._board = SummaryWriter(str(self.exp / "tensorboard"), purge_step=self.start + 1)
        self._bar = tqdm(total=self.total, initial=self.start, desc="train", unit="step", mininterval=1, disable=not visible())
        self._started = self._mark = time.perf_counter()
        self._printed, self._waiting = -math.inf, 0.0
        self._reset()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.close()
        self._file.close()
        self._board.close()

    def step(
        self,
        step: int,
        epoch: int,
        outcome: Outcome,
        *,
        phase: str,
        levels: Sequence[Sequence[str]],
        grad_norm: Mapping[str, float],
        lr: Mapping[str, float],
        audio_seconds: float,
        wait_seconds: float,
        run_seconds: float,
        memory_gb: float,
    ) -> None:
        """Add a step. `wait_seconds` is the time spent waiting for data since the start, `run_seconds` the training time of the run."""
        if self._pending.get("phase", phase) != phase:
            self._emit()  # interleaved phases do not share a line
        if outcome.problem is None:
            for name, pair in outcome.losses.items():
                _add(self._losses[name], pair)
            for name, metrics in outcome.metrics.items():
                for metric, pair in metrics.items():
                    _add(self._metrics[name][metric], pair)
            for name, weight in outcome.weights.items():
                _add(self._weights[name], (weight, 1.0))
            for name, reached in outcome.vertex.items():
                _add(self._vertex[name], (float(reached), 1.0))
        self._inactive.update(outcome.inactive)
        self._audio += audio_seconds
        self._waiting = wait_seconds
        now = time.perf_counter()
        self._elapsed += now - self._mark
        self._mark = now
        self._bar.update(1)
        self._pending = {
            "step": step,
            "epoch": epoch + 1,
            "phase": phase,
            "levels": [list(level) for level in levels],
            "gamma": dict(outcome.gamma),
            "grad_norm": dict(grad_norm),
            "lr": dict(lr),
            "data_wait": (wait_seconds - self._waited) / self._elapsed,
            "memory_gb": memory_gb,
            "seconds": run_seconds,
        }
        if outcome.conflicts is not None and outcome.problem is None:
            self._pending["conflict"] = outcome.conflicts.line()
        if step % self.every == 0:
            self._emit()

    def flush(self) -> None:
        """Write a line for the steps that have none yet. Before a checkpoint this is needed, since a resumed run starts without any."""
        if self._pending:
            self._emit()

    def dev(
        self, step: int, epoch: int, losses: Mapping[str, float], metrics: Mapping[str, Mapping[str, float]], score: float, phase: str
    ) -> None:
        """Write the result on the development sets, after a line for the steps that have none yet."""
        self.flush()
        self._write({"kind": "dev", "step": step, "epoch": epoch, "phase": phase, "loss": losses, "metrics": metrics, "select": score})
        shown = {name: {**values, "loss": losses[name]} for name, values in metrics.items()}
        kinds = {name: next(kind for kind in ("error", "accuracy", "loss") if kind in values) for name, values in shown.items()}
        text = ", ".join(f"{name} {kind} {shown[name][kind]:.3f}" for name, kind in kinds.items())
        self._bar.write(f"{_phase_prefix(phase)}epoch {epoch}, step {step}, dev: {text}, score {score:.4f}", file=sys.stderr)
        self._mark = time.perf_counter()

    def _emit(self) -> None:
        """Write a line for the steps since the last line, and show it."""
        line: dict[str, Any] = {
            "kind": "train",
            "loss": {name: mean(*pair) for name, pair in self._losses.items()},
            "metrics": {name: {metric: mean(*pair) for metric, pair in pairs.items()} for name, pairs in self._metrics.items()},
            "lambda": {name: mean(*pair) for name, pair in self._weights.items()},
            "vertex": {name: mean(*pair) for name, pair in self._vertex.items()},
            "inactive": dict(self._inactive),  # steps in which an objective had no target
            "audio_per_second": self._audio / self._elapsed,
            **self._pending,
        }
        self._write(line)
        self.means = line["metrics"]
        losses = " ".join(f"{name} {value:.2f}" for name, value in line["loss"].items())
        weights = " ".join(["lambda", *(f"{value:.2f}" for value in line["lambda"].values())])
        weights += "".join(f" gamma {value:.3f}" for value in line["gamma"].values())
        text = f"{losses} | {weights} | {line['audio_per_second']:.0f} s/s"
        self._bar.set_postfix_str(text, refresh=False)
        now, step = time.perf_counter(), line["step"]
        if self._bar.disable and now - self._printed >= QUIET:
            total = max(self.total, step)  # the budget is hours of audio, and its number of steps an estimate
            remaining = (total - step) * (now - self._started) / (step - self.start)
            progress = f"{_phase_prefix(line['phase'])}epoch {line['epoch']} step {step}/{total}"
            print(f"{progress}: {text}, {remaining / 60:.1f} min left", file=sys.stderr)
            self._printed = now
        self._reset()

    def _reset(self) -> None:
        self._losses: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._metrics: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0.0, 0.0]))
        self._weights: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._vertex: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._inactive: Counter[str] = Counter()
        self._audio, self._elapsed, self._waited = 0.0, 0.0, self._waiting
        self._pending: dict[str, Any] = {}

    def _write(self, line: dict[str, Any]) -> None:
        line = _finite(line)
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        for name, value in _scalars(line):
            self._board.add_scalar(name, value, line["step"])


class NoLog(TrainLog):
    """The log of all processes of a run but the first: it shows and writes nothing."""

    def __enter__(self) -> NoLog:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def step(self, *_: object, **__: object) -> None:
        pass

    def flush(self) -> None:
        pass

    def dev(self, *_: object, **__: object) -> None:
        pass


def read_log(exp: Path) -> list[dict[str, Any]]:
    """Read the lines of train.jsonl. An incomplete last line, of a process that was killed while writing, is left out.

    Raises UserError for a broken line before the last, and for a line of another form.
    """
    path = exp / "train.jsonl"
    if not path.is_file():
        return []
    texts = path.read_bytes().split(b"\n")
    lines = []
    for number, text in enumerate(texts, start=1):
        try:
            if text:
                lines.append(_checked(json.loads(text)))
        except (ValueError, RecursionError):
            if number < len(texts):  # a complete line ends with a line break, so the last text is empty or incomplete
                raise UserError(f"{path}:{number}: not a line of this log; delete this line and run again") from None
    return lines


def _checked(line: Any) -> dict[str, Any]:
    """A line of the log. Raises ValueError where it lacks what every reader needs."""
    parts: dict[str, type] = {"kind": str, "step": int, "loss": dict}
    if isinstance(line, dict) and line.get("kind") == "train":
        parts |= {"lambda": dict, "gamma": dict}
    if not isinstance(line, dict) or not all(isinstance(line.get(name), kind) for name, kind in parts.items()):
        raise ValueError("another form")
    return line


def _scalars(line: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The tags and values of a line for TensorBoard."""
    prefix = "" if line["kind"] == "train" else "dev/"
    scalars: list[tuple[str, float | None]] = []
    for key, value in line.items():
        if key in ("kind", "step", "phase", "levels"):
            continue
        if key == "conflict":
            scalars += _conflict_scalars(value)
        elif key == "metrics":
            for name, metrics in value.items():
                for metric, number in metrics.items():
                    parts = {f"/{index}": part for index, part in enumerate(number)} if isinstance(number, list) else {"": number}
                    scalars += [(f"{prefix}{metric}/{name}{part}", part_value) for part, part_value in parts.items()]
        elif isinstance(value, Mapping):
            scalars += [(f"{prefix}{key}/{name}", number) for name, number in value.items()]
        else:
            scalars.append((f"{prefix}{key}", value))
    return [(tag, value) for tag, value in scalars if value is not None]


def _phase_prefix(phase: str) -> str:
    """The phase as the beginning of a line; empty where the config names no phases."""
    return "" if phase == SINGLE else f"{phase}: "


def _conflict_scalars(conflict: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    """The tags and values of a measured step. Tags are <quantity>/<layer>/<objectives>; the layer `all` is the entire backbone.

    `cosine` compares gradients on the same batch, `cross` on independent batches; `self` compares a gradient with itself on another batch.
    """
    names = conflict["names"]
    pairs = [(i, j) for i in range(len(names)) for j in range(i)]
    scalars = [(f"conflict_rate/{layer}", rate) for layer, rate in conflict["rate"].items()]
    for layer, matrix in {"all": conflict["matrix"], **conflict["layers"]}.items():
        scalars += [(f"cosine/{layer}/{names[j]}|{names[i]}", matrix[i][j]) for i, j in pairs]
    for layer, matrix in conflict.get("cross", {}).items():
        scalars += [(f"cross/{layer}/{names[j]}|{names[i]}", matrix[i][j]) for i, j in pairs]
        scalars += [(f"self/{layer}/{name}", row[i]) for i, (name, row) in enumerate(zip(names, matrix, strict=True))]
    for layer, norms in {"all": conflict["norm"], **conflict["norms"]}.items():
        scalars += [(f"gradient/{layer}/{name}", norm) for name, norm in zip(names, norms, strict=True)]
    scalars += [("gradient/all/merged", conflict["merged"]), ("gradient/all/pull", conflict["pull"])]
    return [*scalars, ("lambda_deviation", conflict.get("deviation"))]


def _add(total: list[Any], pair: tuple[Any, float]) -> None:
    total[0] = total[0] + pair[0]
    total[1] += pair[1]


def _finite(value: Any) -> Any:
    """A copy of the value with None, JSON's null, for numbers that are not finite: JSON has no NaN."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
