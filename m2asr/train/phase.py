"""A phase of a run while it trains: its levels, its batches, its optimizer."""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch

from m2asr import train_config
from m2asr.data.batch import Batch
from m2asr.data.streams import Step, StepLoader
from m2asr.errors import UserError
from m2asr.form import check_form
from m2asr.moo.build import build_level
from m2asr.moo.collectives import Collectives
from m2asr.moo.feature_level import FeatureLevel
from m2asr.moo.layout import padded_size
from m2asr.moo.level import Level
from m2asr.moo.penalty import PenaltySchedule, level_factors
from m2asr.objectives.system import System
from m2asr.seeds import seed_of
from m2asr.train.expert_parallel import part_of, whole
from m2asr.train.materials import Materials
from m2asr.train.optim import Optimizer
from m2asr.train.outcome import Outcome
from m2asr.train.passes import Draw
from m2asr.train.step import JointStep
from m2asr.train_config import TrainConfig


class Phase:
    """One phase: objectives on levels, the streams that they read, and an optimizer.

    Memory for gradients and the optimizer is taken from `start` on, and given back by `stop`. Rates and gammas follow the position in the
    phase, in steps from 0 to `total_steps`.
    """

    def __init__(
        self,
        config: TrainConfig,
        section: train_config.Phase,
        index: int,
        system: System,
        materials: Materials,
        dtype: torch.dtype,
        group: Collectives,
    ) -> None:
        options = config.train
        self.group = group
        self.config, self.section, self.system, self.dtype = config, section, system, dtype
        self.name, self.leads = section.name, section.every is not None
        self.sections = config.levels_of(section)
        multiple = len([name for level in self.sections for name in level.objectives]) > 1
        self.over = self.sections[0].weighting.over
        self.theta = system.theta(self.over)
        self.regular = config.regular(section)
        self.levels = [self._level(level, multiple and options.conflicts is True) for level in self.sections]
        names = [*(name for level in self.levels for name in level.objectives), *self.regular]
        self.streams = {name: config.objectives[name].stream for name in names}
        self._check_one_batch()
        self._check_expert_parallel()
        self.penalties = [PenaltySchedule(level.penalty) for level in self.sections[1:]]
        self.upper = self.levels[0].objectives
        read = {name: source for name, source in materials.train.items() if name in self.streams.values()}
        single = options.epoch_of if len(config.phase_list()) == 1 else None  # with several phases it is for those that read it
        for where, stream in (("train", single), (f"phases.{self.name}", section.epoch_of)):
            if stream is not None and stream not in read:
                raise UserError(f"{where}.epoch_of: no objective reads the stream {stream}; name one of {', '.join(read)}")
        named = [stream for stream in (section.epoch_of, options.epoch_of) if stream in read]
        self.loader = StepLoader(
            read,
            config.batching,
            epoch_of=named[0] if named else longest(read, [self.streams[name] for name in self.upper]),
            draws=self._draws(),
            accumulation=options.accumulation,
            rank=group.rank,
            world=group.world,
            seed=options.seed if index == 0 else seed_of(options.seed, index),  # another order in every phase
            workers=options.workers,
            max_bad=options.max_bad,
            prepare=self._prepare,
            loads={stream: partial(self._load, stream) for stream in read},
            undivided=[self.streams[name] for name in self.streams if system.compares(name)],
        )
        self._warn_of_idle_processes()
        self.total_steps = 0  # of the phase, about; set by the run, which knows its length
        self.steps = 0  # of the phase so far
        self._steps: Generator[Step] | None = None

    def start(self) -> None:
        """Take memory and begin to read."""
        if self._steps is None:
            self.joint = JointStep(self.system, self.streams, self.levels, self.dtype, self.regular, self.over, self.group)
            optim = self.section.optim or self.config.optim
            groups, spread = self.system.groups(self.theta), self.system.spread_parameters
            self.optimizer = Optimizer(optim, groups, self.total_steps, self.dtype, self.system.stacks, self.group, spread)
            self._steps = iter(self.loader)

    def stop(self) -> None:
        """Give memory and processes back."""
        if self._steps is not None:
            self._steps.close()
            self._steps = None
            del self.joint, self.optimizer
            self.system.zero_grad(set_to_none=True)  # theta's gradients lie in rows

    def next_step(self) -> Step:
        """The batches of the next step."""
        return next(self._steps)

    @property
    def epoch(self) -> int:
        """Complete epochs."""
        return self.loader.positions[self.loader.epoch_of][0]

    @property
    def position(self) -> float:
        """Epochs done, with the part of the present one."""
        epoch, index = self.loader.positions[self.loader.epoch_of]
        return epoch + index / self.loader.steps_per_epoch(epoch)

    @property
    def rows(self) -> int:
        """Gradients of theta that a step keeps."""
        return 1 + sum(level.count for level in self.levels)

    @property
    def gradient_bytes(self) -> int:
        """Bytes of these gradients."""
        params = [param for module in self.theta.values() for param in module.parameters()]
        return self.rows * padded_size(params) * params[0].element_size()

    def gradients(self, draws: Sequence[Draw], position: float, epoch: int, measure: bool = False) -> Outcome:
        """Forward and backward of the next step; `position` in steps and `epoch` are those of the phase."""
        gammas = [penalty.gamma(position, epoch, self.total_steps) for penalty in self.penalties]
        factors = level_factors(gammas, [level.penalty.rescale for level in self.sections[1:]])
        outcome = self.joint(draws, self.steps, factors, measure)
        self.steps += 1
        outcome.gamma = {"+".join(level.objectives): gamma for level, gamma in zip(self.levels[1:], gammas, strict=True)}
        return outcome

    def seconds_per_step(self) -> float:
        """Audio through the encoders of all processes, the mean over a first epoch of every stream, at all its speeds."""
        total = 0.0
        for name, source in self.loader.sources.items():
            objectives = [self.system.objectives[reader] for reader, stream in self.streams.items() if stream == name]
            views = {view for objective in objectives for view in objective.views}
            steps = len(source.speeds) * self.loader.steps_per_epoch(0, name)
            for view, speed in product(views, source.speeds):
                lengths = source.frames_at(speed) if view.input == "feats" else source.tokens_in(view.input)
                chunks = np.array_split(lengths, 1 + len(lengths) // 2**20)  # not all as 64-bit integers at once
                unit = source.frame_shift if view.input == "feats" else source.token_seconds
                total += unit * sum(view.frames(chunk.astype(np.int64)) for chunk in chunks) / steps
        return total

    def describe(self) -> str:
        """A line on objectives, levels and steps."""
        levels = " above ".join(
            f"{', '.join(level.objectives)} ({_kind(section.weighting)})" for level, section in zip(self.levels, self.sections, strict=True)
        )
        size = f"{self.loader.steps_per_epoch()} steps per epoch of {self.loader.epoch_of}"
        return f"phase {self.name}: {levels}; {size}, about {self.total_steps} in all; {self.rows} gradients of the backbone"

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values for a checkpoint, of process 0; all take part."""
        loader = self.loader.state_dict()
        loader["bad"] = sorted(set().union(*self.group.exchange(loader["bad"])))
        return {
            "optimizer": {name: self._whole(name, moments) for name, moments in self.optimizer.state_dict().items()},
            "levels": [level.state_dict(self.joint.rows) for level in self.levels],
            "loader": loader,
            "steps": self.steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, in a phase that was started and has not read yet."""
        state = {"steps": 0, **state}  # older checkpoints do not have it
        levels = [{} for _ in self.levels]
        check_form(state, {"optimizer": {}, "levels": levels, "loader": {}, "steps": 0}, f"phases.{self.name}")
        check_form(state["optimizer"], {name: {} for name in state["optimizer"]}, f"phases.{self.name}.optimizer")
        spread, moments = self.system.spread_names, state["optimizer"]
        parts = {name: part_of(values, values if name in spread else (), self.group) for name, values in moments.items()}
        self.optimizer.load_state_dict(parts)
        for level, saved in zip(self.levels, state["levels"], strict=True):
            check_form(saved, level.state_dict(self.joint.rows), f"phases.{self.name}.levels", partial=True)  # older ones have less
            level.load_state_dict(saved, self.joint.rows)
        check_form(state["loader"], self.loader.state_dict(), f"phases.{self.name}.loader")
        self.loader.load_state_dict(state["loader"])
        self.steps = state["steps"]

    def _whole(self, name: str, moments: dict[str, Any]) -> dict[str, Any]:
        """The moments of a parameter, put together if it is spread over processes."""
        return whole(moments, moments if name in self.system.spread_names else (), self.group)

    def _level(self, section: train_config.Level, apart: bool) -> Level:
        """A level of the objectives whose gradient reaches theta; those whose does not train as regular ones."""
        inside = [name for name in section.objectives if self.system.reaches(name, self.theta)]
        self.regular |= {name: 1.0 for name in section.objectives if name not in inside}
        if not inside:
            raise UserError(
                f"phase {self.name}: no gradient of {', '.join(section.objectives)} reaches {', '.join(self.theta)}; name the modules that "
                "they train in `weighting.over`, or give them `role: regular`"
            )
        reads = {name: (self.config.objectives[name].stream, *self.system.objectives[name].reads) for name in inside}
        if section.weighting.gradients == "features":
            self._check_encoder_alone()
        return build_level(section.model_copy(update={"objectives": inside}), apart, reads, self.group)

    def _prepare(self, stream: str, batch: Batch) -> Batch:
        return self.system.prepare(batch, [name for name, read in self.streams.items() if read == stream])

    def _load(self, stream: str, frames: np.ndarray) -> float:
        """The cost of a batch of utterances with these frames (N,): per frame and view 1 for the forward pass, 2 for each backward pass."""
        names = [name for name, read in self.streams.items() if read == stream]
        apart = {name for level in self.levels if level.weighting.dynamic for name in level.objectives}
        views = dict.fromkeys(view for name in names for view in self.system.objectives[name].views)
        backwards = max(1, len([name for name in names if name in apart]))
        return sum(view.frames(frames) for view in views) * (1 + 2 * backwards)

    def _check_encoder_alone(self) -> None:
        """Raises UserError where weights from states of the encoder would have to hold for other modules too."""
        if set(self.over) != {"encoder"}:
            raise UserError("weighting.over: `gradients: features` is for the encoder alone; name only that, or set `gradients: exact`")
        if others := [name for name in self.theta if name != "encoder"]:
            raise UserError(
                f"weighting.gradients: `features` is for the encoder alone, but {', '.join(others)}, which a view or `condition` names, is "
                "merged with it; set `gradients: exact`"
            )

    def _check_one_batch(self) -> None:
        """Raises UserError where weights from states would need the graphs of several batches of a stream at once."""
        accumulation, draws = self.config.train.accumulation, self._draws()
        for level in [level for level in self.levels if isinstance(level, FeatureLevel)]:
            if accumulation > 1:
                raise UserError(
                    f"train.accumulation: {accumulation} does not go with `weighting.gradients: features`, whose weights need the graphs "
                    "of all micro-batches at once; set it to 1, or `gradients: exact`"
                )
            for name in level.objectives:
                if draws[self.streams[name]] > 1:
                    raise UserError(
                        f"weighting.gradients: `features` takes one batch per step, but another level draws {draws[self.streams[name]]} "
                        f"from the stream {self.streams[name]} of {name}; set `gradients: exact`, or give {name} a stream of its own"
                    )

    def _check_expert_parallel(self) -> None:
        """Raises UserError where experts are spread over processes, and gradients are to be kept apart, of which each has only a part."""
        if not self.config.train.expert_parallel:
            return
        for level, section in zip(self.levels, self.sections, strict=True):
            if level.weighting.dynamic or self.config.train.conflicts:
                what = "train.conflicts" if self.config.train.conflicts else f"weighting {section.weighting.type}"
                raise UserError(f"train.expert_parallel: {what} compares gradients of whole models; set it to false, or use static weights")

    def _warn_of_idle_processes(self) -> None:
        """Tell where a step has fewer batches than processes, and none that may be divided."""
        draws = self.loader.draws
        whole = {self.streams[name]: name for name in self.streams if self.system.compares(name)}
        batches = sum(draws.values()) * self.config.train.accumulation
        if set(whole) == set(draws) and batches < self.group.world and self.group.rank == 0:
            print(
                f"warning: phase {self.name}: a step has fewer batches ({batches}) than processes ({self.group.world}), and none is "
                f"divided, since {', '.join(whole.values())} compares its utterances; set train.accumulation: {self.group.world}",
                file=sys.stderr,
            )

    def _draws(self) -> dict[str, int]:
        """Independent batches per step of every stream: as many as its objectives' weightings take."""
        counts = sorted({level.draws for level in self.levels} - {1})
        if len(counts) > 1:
            raise UserError(
                f"phase {self.name}: its weightings take {counts[0]} and {counts[1]} batches per step; give both the same `samples`"
            )
        draws: dict[str, int] = {}
        for level in self.levels:
            for name in level.objectives:
                draws[self.streams[name]] = max(draws.get(self.streams[name], 1), level.draws)
        return draws


def _kind(weighting: train_config.Weighting) -> str:
    return weighting.type if weighting.gradients == "exact" else f"{weighting.type}, gradients at the encoder states"


def longest(sources: Mapping[str, Any], streams: Sequence[str]) -> str:
    """The default of epoch_of: of `streams`, those of the first level, the one with the most frames, the mean over its speeds."""

    def frames(source: Any) -> float:
        return sum(int(source.frames_at(speed).sum(dtype="int64")) for speed in source.speeds) / len(source.speeds)

    return max(sorted(set(streams)), key=lambda name: frames(sources[name]))
