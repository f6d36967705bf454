"""Training steps for benchmarks: the steps of the trainer, on the real batches of egs/mini or on noise."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from m2asr.config import FbankConfig, load_config
from m2asr.data.batch import Batch, Key, target_key
from m2asr.data.feats import StoredFeats
from m2asr.data.sources import Source
from m2asr.objectives.build import resolve
from m2asr.train.materials import Materials, gather, targets_of
from m2asr.train.optim import clip_groups
from m2asr.train.passes import Draw
from m2asr.train.phase import Phase
from m2asr.train.trainer import Trainer
from m2asr.train_config import TrainConfig

CONFIG = Path("conf/train_m2asr.yaml")  # inside the recipe
BATCHES = 6  # most different steps that the timed rounds repeat
FEAT_DIM, VOCAB, TOKENS_PER_SECOND = 80, 500, 5  # of noise

Step = Callable[[Sequence[Draw], int], object]  # (draws, number of the step)


@dataclass(frozen=True)
class Case:
    """A model and its batches: overrides of the demo's config, and the seconds of every utterance where the batches are noise."""

    overrides: tuple[str, ...] = ()
    utterance: float | None = None

    def phase(self, overrides: Sequence[str], exp: Path, device: str) -> Phase:
        """The single phase of a training in the current folder, which is that of a recipe; nothing is written."""
        config = resolve(load_config(TrainConfig, CONFIG, [*self.overrides, *overrides]))
        with contextlib.redirect_stderr(io.StringIO()):  # hides the message that some utterances are longer than a batch
            materials = self._noise(config) if self.utterance else gather(config, Path("data"), Path("dump"), exp)
            (phase,) = Trainer(config, materials, exp, device).phases
        phase.start()
        return phase

    def _noise(self, config: TrainConfig) -> Materials:
        tokens: dict[str, Any] = {name: SimpleNamespace(size=VOCAB) for name in config.tokens}
        targets = {name: [target_key(*target[:2]) for target in targets_of(config, name, tokens)] for name in config.streams}
        sources = {name: Noise(name, keys, self.utterance) for name, keys in targets.items()}
        return Materials(tokens, sources, {}, FbankConfig(), torch.zeros(FEAT_DIM), torch.ones(FEAT_DIM))


CASES = {
    "mini": Case(),
    "m2asr": Case(
        (
            "model.encoder={type: conformer, blocks: 8, dim: 512, heads: 8, kernel: 31, ff_mult: 4, subsampling: conv2d, dropout: 0.1}",
            "batching={seconds: 200}",
        ),
        utterance=11.0,  # with 200 s per step, batches are full for one stream or three, and for one, two or three draws
    ),
    "tiny": Case(
        (
            "model.encoder={type: conformer, blocks: 1, dim: 16, heads: 2, kernel: 5, ff_mult: 1, subsampling: dwconv}",
            "batching={seconds: 9}",
        ),
        utterance=1.0,
    ),
}


class Noise(Source):
    """A stream of noise: utterances of equal length with random targets of the keys `targets`."""

    def __init__(self, name: str, targets: Sequence[str], seconds: float, size: int = 1000) -> None:
        self.name, self.frame_shift, self.keys, self.feats = name, 0.01, list(targets), StoredFeats()
        frames = np.full(size, round(seconds / self.frame_shift), dtype=np.int32)
        self.index = SimpleNamespace(frames=frames, languages=["en"], lang_ids=np.zeros(size, dtype=np.int16))

    def load(self, numbers: Sequence[int] | np.ndarray, key: Key, refill: bool = True) -> tuple[Batch, list[str]]:
        count, frames = len(numbers), int(self.frames[0])
        size = max(1, round(frames * self.frame_shift * TOKENS_PER_SECOND))
        generator = torch.Generator().manual_seed(key[3])
        return Batch(
            inputs={"feats": torch.randn(count, frames, FEAT_DIM, generator=generator)},
            lengths={"feats": torch.full((count,), frames)},
            targets={name: torch.randint(2, VOCAB - 1, (count, size), generator=generator) for name in self.keys},
            target_lengths={name: torch.full((count,), size) for name in self.keys},
            lang=["en"] * count,
            speakers=["noise"] * count,
            utt_ids=[f"noise{number}" for number in numbers],
            key=key,
        ), []


def enter_mini(parser: argparse.ArgumentParser, config: Path, exp: Path) -> None:
    """Make egs/mini the current folder and `config` there the one of the cases; ends where the run `exp` has no tokenizers."""
    global CONFIG
    os.chdir(Path(__file__).resolve().parent.parent / "egs" / "mini")
    if not (exp / "tokens").is_dir():
        parser.error(f"run ./run.sh --stop_stage tokens --train_config {config} in egs/mini first")
    CONFIG = config


def training_step(phase: Phase, measure: bool = False) -> Step:
    """A step as the trainer makes it: gradients, clipping and update; with `measure` also the conflicts for its log."""
    modules = phase.system.module_parameters()

    def step(draws: Sequence[Draw], number: int) -> None:
        outcome = phase.gradients(draws, 0.0, 0, measure)
        if outcome.problem:
            raise RuntimeError(outcome.problem)
        clip_groups(modules, phase.optimizer.config.clip)
        phase.optimizer.step(0.0)
        phase.joint.applied(outcome)
        if measure:
            outcome.conflicts.line()

    return step


def batches_of(phase: Phase, rounds: int) -> list[list[Draw]]:
    """The draws of the first steps: one step per round, at most BATCHES."""
    with contextlib.closing(iter(phase.loader)) as steps:
        return [step.draws() for step in islice(steps, min(rounds, BATCHES))]


def take_turns(
    steps: Mapping[str, Step], batches: Sequence[Sequence[Draw]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """The seconds of every step in `rounds` rounds. In a round all steps take the same batch, and their order changes from round to round.

    Before that, every step runs every batch once, since the first run of a shape includes the time to prepare kernels.
    """
    for draws in batches:
        for step in steps.values():
            step(draws, 0)
    times: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            _wait()
            start = clock()
            steps[name](batches[number % len(batches)], number)
            _wait()
            times[name].append(clock() - start)
    return times


def ratio(times: Sequence[float], references: Sequence[float]) -> float:
    """The median of the ratios of times on the same batches."""
    return statistics.median(time / reference for time, reference in zip(times, references, strict=True))


def peak_bytes(phase: Phase, step: Step, draws: Sequence[Draw]) -> tuple[int, int]:
    """The peak of the bytes of tensors in a step, and their peak after the last backward, when only gradients remain.

    The bytes are exact: the running sum of the reports of torch's allocator to the profiler. Parameters, moments and batches are not
    included, since they were allocated before.
    """
    phase.system.zero_grad(set_to_none=True)
    phase.joint.rows.keep([])
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
        step(draws, 0)
    device = torch.autograd.DeviceType.CUDA if phase.joint.rows.layout.device.type == "cuda" else torch.autograd.DeviceType.CPU
    events = profiler.profiler.kineto_results.events()
    last_backward = max(event.end_ns() for event in events if event.name().startswith("autograd::engine::evaluate_function"))
    moments, held = held_bytes(profiler, device)
    return int(held.max()), int(held[max(0, sum(moments <= last_backward) - 1) :].max(initial=0))


def held_bytes(profiler: profile, device: torch.autograd.DeviceType) -> tuple[np.ndarray, np.ndarray]:
    """The moments at which tensors took memory or gave it back while a profiler ran, and the bytes that they had then."""
    events = profiler.profiler.kineto_results.events()
    reports = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]" and event.device_type() == device)
    return np.array([moment for moment, _ in reports]), np.cumsum([size for _, size in reports])


def milliseconds(times: Sequence[float]) -> str:
    """The median of times in seconds, as a text in milliseconds."""
    return f"{1000 * statistics.median(times):7.1f} ms"


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
