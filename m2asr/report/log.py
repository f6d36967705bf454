"""What a run shows while it trains: progress bar, train.jsonl, TensorBoard."""

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
from m2asr.progress import visible
from m2asr.train_config import SINGLE

if TYPE_CHECKING:
    from m2asr.train.outcome import Outcome

QUIET = 10.0  # seconds between two lines where there is no terminal, so that a log file stays readable


class TrainLog:
    """Collects steps and writes them to train.jsonl and TensorBoard; a resumed run goes on with the lines it has.

    There is a line per `every` steps, and one before each checkpoint and look at the dev sets where steps are left over. Losses and metrics
    are means over the steps since the line before; steps with a loss or gradient that is not finite, which change nothing,
    are left out of them. `conflict` holds what `Conflicts.line` tells of a measured step. Time spent on dev sets counts neither in speed
    nor in waiting.
    """

    def __init__(self, exp: Path, total_steps: int, done: int, every: int) -> None:
        self.exp, self.total, self.every, self.done = exp, total_steps, every, done

    def __enter__(self) -> TrainLog:
        from torch.utils.tensorboard import SummaryWriter

        path = self.exp / "train.jsonl"
        kept = [line for line in read_log(self.exp) if line["step"] <= self.done]
        with open_atomic(path) as file:  # steps after the checkpoint will be done again
            file.writelines(json.dumps(line) + "\n" for line in kept)
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed in __exit__
        self._board = SummaryWriter(str(self.exp / "tensorboard"), purge_step=self.done + 1)
        self._bar = tqdm(total=self.total, initial=self.done, desc="train", unit="step", mininterval=1, disable=not visible())
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
        """Take in one step; `wait_seconds` has been spent waiting for data since the start, `run_seconds` is the age of the run."""
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
        """Write a line for the steps that have none yet: a checkpoint's run goes on with nothing pending."""
        if self._pending:
            self._emit()

    def dev(
        self, step: int, epoch: int, losses: Mapping[str, float], metrics: Mapping[str, Mapping[str, float]], score: float, phase: str
    ) -> None:
        """Write the result on the development sets, after a line for the steps that have none yet."""
        self.flush()
        self._write({"kind": "dev", "step": step, "epoch": epoch, "phase": phase, "loss": losses, "metrics": metrics, "select": score})
        shown = " ".join(f"{name} {found.get('error', found.get('accuracy', losses[name])):.3f}" for name, found in metrics.items())
        self._bar.write(f"{_phase(phase)}epoch {epoch}, step {step}, dev: {shown}, score {score:.4f}", file=sys.stderr)
        self._mark = time.perf_counter()

    def _emit(self) -> None:
        """Write the steps since the last line, and show them."""
        line: dict[str, Any] = {
            "kind": "train",
            "loss": {name: _ratio(pair) for name, pair in self._losses.items()},
            "metrics": {name: {metric: _ratio(pair) for metric, pair in found.items()} for name, found in self._metrics.items()},
            "lambda": {name: _ratio(pair) for name, pair in self._weights.items()},
            "vertex": {name: _ratio(pair) for name, pair in self._vertex.items()},
            "inactive": dict(self._inactive),  # steps in which an objective had no target
            "audio_per_second": self._audio / self._elapsed,
            **self._pending,
        }
        self._write(line)
        shown = " ".join(f"{name} {value:.2f}" for name, value in line["loss"].items())
        weights = " ".join(["lambda", *(f"{value:.2f}" for value in line["lambda"].values())])
        weights += "".join(f" gamma {value:.3f}" for value in line["gamma"].values())
        text = f"{shown} | {weights} | {line['audio_per_second']:.0f} s/s"
        self._bar.set_postfix_str(text, refresh=False)
        now, step = time.perf_counter(), line["step"]
        if self._bar.disable and now - self._printed >= QUIET:
            left = (self.total - step) * (now - self._started) / (step - self.done)
            where = f"{_phase(line['phase'])}epoch {line['epoch']} step {step}/{self.total}"
            print(f"{where}: {text}, {left / 60:.1f} min left", file=sys.stderr)
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
    """What the other processes of a run show and write: nothing."""

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
    """The lines of train.jsonl; a last line that was cut off when the process died is left out.

    Raises UserError for a broken line before the last.
    """
    path = exp / "train.jsonl"
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            if line:
                found.append(json.loads(line))
        except ValueError:
            if number < len(lines):  # a whole line ends with a line break
                raise UserError(f"{path}:{number}: not a line of this log; delete it and run again") from None
    return found


def _scalars(line: Mapping[str, Any]) -> list[tuple[str, float]]:
    prefix = "" if line["kind"] == "train" else "dev/"
    found = []
    for key, value in line.items():
        if key in ("kind", "step", "phase", "levels"):
            continue
        if key == "conflict":
            found += _conflict_scalars(value)
        elif key == "metrics":
            found += [(f"{prefix}{metric}/{name}", number) for name, metrics in value.items() for metric, number in metrics.items()]
        elif isinstance(value, Mapping):
            found += [(f"{prefix}{key}/{name}", number) for name, number in value.items()]
        else:
            found.append((f"{prefix}{key}", value))
    return [(name, value) for name, value in found if value is not None]


def _phase(name: str) -> str:
    """How a line begins: the phase, where the config names phases."""
    return "" if name == SINGLE else f"{name}: "


def _conflict_scalars(value: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    """Tags are <quantity>/<layer>/<objectives>; the layer `all` is the whole backbone.

    `cosine` is that of one batch, `cross` of independent batches, `self` of a gradient with itself on another batch.
    """
    names = value["names"]
    pairs = [(i, j) for i in range(len(names)) for j in range(i)]
    found = [(f"conflict_rate/{layer}", rate) for layer, rate in value["rate"].items()]
    for layer, matrix in {"all": value["matrix"], **value["layers"]}.items():
        found += [(f"cosine/{layer}/{names[j]}|{names[i]}", matrix[i][j]) for i, j in pairs]
    for layer, matrix in value.get("cross", {}).items():
        found += [(f"cross/{layer}/{names[j]}|{names[i]}", matrix[i][j]) for i, j in pairs]
        found += [(f"self/{layer}/{name}", row[i]) for i, (name, row) in enumerate(zip(names, matrix, strict=True))]
    for layer, norms in {"all": value["norm"], **value["norms"]}.items():
        found += [(f"gradient/{layer}/{name}", norm) for name, norm in zip(names, norms, strict=True)]
    found += [("gradient/all/merged", value["merged"]), ("gradient/all/pull", value["pull"])]
    return [*found, ("lambda_deviation", value.get("deviation"))]


def _add(pair: list[float], more: tuple[float, float]) -> None:
    pair[0] += more[0]
    pair[1] += more[1]


def _ratio(pair: list[float]) -> float:
    return pair[0] / pair[1] if pair[1] else math.nan


def _finite(value: Any) -> Any:
    """JSON has no NaN: null instead."""
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
