"""The training loop: steps, development sets, checkpoints; one loop for every system, phase and weighting."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from m2asr.config import TrainConfig, dump_config
from m2asr.data.streams import Step, StepLoader, eval_batches
from m2asr.errors import UserError
from m2asr.files import open_atomic
from m2asr.moo.build import build_weighting
from m2asr.moo.penalty import PenaltySchedule
from m2asr.objectives.system import System, build_system
from m2asr.train import checkpoint, plots
from m2asr.train.average import average
from m2asr.train.evaluate import evaluate, selection_score
from m2asr.train.log import TrainLog
from m2asr.train.materials import Materials, with_languages
from m2asr.train.optim import Optimizer, clip_groups
from m2asr.train.precision import choose
from m2asr.train.step import JointStep

COUNTERS = ("number", "skipped", "train_seconds", "audio_seconds")  # plain numbers of a checkpoint


class Trainer:
    """One run in the folder `exp`: built from a resolved config, it goes on from the last checkpoint it finds there."""

    def __init__(self, config: TrainConfig, materials: Materials, exp: Path, device: str = "cpu") -> None:
        config = with_languages(config, materials.train)
        self.config, self.exp, self.device = config, exp, torch.device(device)
        self.options = config.train
        self.streams = {name: objective.stream for name, objective in config.objectives.items()}
        levels = {name: objective.level for name, objective in config.objectives.items()}
        self.upper = [name for name in levels if levels[name] == "upper"]
        self.dtype = choose(self.options.precision, self.device)

        torch.manual_seed(self.options.seed)
        self.system: System = build_system(
            config, materials.vocab, len(materials.mean), materials.geometry.frame_shift, materials.geometry.frame_length
        ).to(self.device)
        self.system.mean.copy_(materials.mean)
        self.system.scale.copy_(materials.scale)
        self.weighting = build_weighting(config.weighting, self.upper)
        self.penalty = PenaltySchedule(config.penalty) if config.penalty else None
        self.joint = JointStep(
            self.system,
            self.streams,
            levels,
            self.weighting,
            self.options.seed,
            self.dtype,
            config.weighting.every,
            config.weighting.layers,
        )

        self.clipped = self.system.parts()

        self.dev = materials.dev
        self.loader = StepLoader(
            materials.train,
            config.batching,
            epoch_of=self.options.epoch_of or longest_stream(config, materials),
            draws={self.streams[name]: self.weighting.draws for name in self.upper},
            accumulation=self.options.accumulation,
            seed=self.options.seed,
            workers=self.options.workers,
            max_bad=self.options.max_bad,
        )
        self.steps_per_epoch = self.loader.steps_per_epoch(0)
        self.frame_seconds = materials.geometry.frame_shift / 1000
        self.budget = None if self.options.hours is None else 3600 * self.options.hours  # seconds through the encoder
        if self.budget is None:
            self.total_steps = self.options.epochs * self.steps_per_epoch
        else:
            self.total_steps = max(1, round(self.budget / self._seconds_per_step()))
        self.optimizer = Optimizer(config.optim, self.system.groups(), self.total_steps)
        self.best = checkpoint.BestCheckpoints(exp / "checkpoints", self.options.average_best)
        self.number = 0  # steps done
        self.skipped = 0
        self.train_seconds = 0.0
        self.audio_seconds = 0.0  # through the encoder, without padding
        self.finished = False
        self._started = time.perf_counter()

    def describe(self) -> str:
        """A few lines for the start of the log: sizes, streams, steps, memory of the gradients."""
        count = sum(parameter.numel() for parameter in self.system.parameters())
        shared = sum(parameter.numel() for parameter in self.system.encoder.parameters())
        streams = ", ".join(f"{name} {len(source)}" for name, source in self.loader.sources.items())
        about = "" if self.budget is None else "about "
        return (
            f"{count:,} parameters, {shared:,} of them in the shared encoder; {str(self.dtype).removeprefix('torch.')} on {self.device}\n"
            f"utterances per stream: {streams}\n"
            f"{self.steps_per_epoch} steps per epoch of {self.loader.epoch_of}, {about}{self.total_steps} in all\n"
            f"{self.joint.buffers}; weighting {self.config.weighting.type}, {self.weighting.draws} draw(s) of upper streams per step"
        )

    def resume(self) -> bool:
        """Load the newest checkpoint, if there is one. Raises UserError where it belongs to another config."""
        state = checkpoint.load_latest(self.exp / "checkpoints")
        if state is None:
            return False
        changed = checkpoint.compare_config(state["config"], self.config.model_dump(mode="json"))
        if changed:
            raise UserError(
                f"{self.exp}: its checkpoint was trained with other values of {', '.join(changed)}; restore them, choose another --tag, "
                "or start from its weights in a new folder with --init_from"
            )
        checkpoint.load_weights(self.system, state["model"], self.exp / "checkpoints")
        self.optimizer.inner.load_state_dict(state["optimizer"])
        self.weighting.load_state_dict(state["weighting"])
        self.joint.reuse.load_state_dict(state["reuse"])
        self.loader.load_state_dict(state["loader"])
        self.best.load_state_dict(state["best"])
        for name in COUNTERS:
            setattr(self, name, state[name])
        self.finished = self._is_last(self.loader.positions[self.loader.epoch_of][0])
        return True

    def run(self) -> None:
        """Train to the last epoch, then average the best checkpoints into model.pt and draw the plots."""
        with open_atomic(self.exp / "config.yaml") as file:
            file.write(dump_config(self.config))
        with TrainLog(self.exp, self.total_steps, self.number, self.options.log_every) as log:
            self._started = time.perf_counter() - self.train_seconds
            if not self.finished:
                for step in self.loader:
                    self._train(step, log)
                    # the last step of an epoch, or of the budget
                    if self.loader.positions[self.loader.epoch_of][0] > step.epoch or self._is_last(step.epoch):
                        self._end_epoch(step.epoch + 1, log)
                    elif self.options.save_every and self.number % self.options.save_every == 0:
                        log.flush()
                        self.save()
                    if self.finished:
                        break
        average([self.best.path(epoch) for epoch in sorted(self.best.scores)], self.exp / "model.pt")
        plots.draw(self.exp)
        with open_atomic(self.exp / "train_info.json") as file:
            json.dump(self.facts(), file, indent=1)

    def facts(self) -> dict[str, Any]:
        """What results.json tells of the run."""
        return {
            "config": self.config.model_dump(mode="json"),
            "seed": self.options.seed,
            "git": git_revision(),
            "params": sum(parameter.numel() for parameter in self.system.parameters()),
            "train_seconds": self.train_seconds,
            "audio_seconds": self.audio_seconds,
            "steps": self.number,
            "skipped": self.skipped,
            "peak_memory_gb": peak_memory_gb(self.device),
        }

    def save(self) -> None:
        """Write the checkpoint from which training goes on bit for bit."""
        self.train_seconds = time.perf_counter() - self._started
        state: dict[str, Any] = {
            "config": self.config.model_dump(mode="json"),
            "model": self.system.state_dict(),
            "optimizer": self.optimizer.inner.state_dict(),
            "weighting": self.weighting.state_dict(),
            "reuse": self.joint.reuse.state_dict(),
            "loader": self.loader.state_dict(),
            "best": self.best.state_dict(),
        }
        state |= {name: getattr(self, name) for name in COUNTERS}
        checkpoint.save(self.exp / "checkpoints", state)

    def _train(self, step: Step, log: TrainLog) -> None:
        """One optimizer step."""
        draws = [{stream: [batch.to(self.device) for batch in batches] for stream, batches in draw.items()} for draw in step.draws()]
        place = self._place(step)
        gamma = self.penalty.gamma(place, step.epoch, self.total_steps) if self.penalty else 0.0
        logged = (self.number + 1) % self.options.log_every == 0
        outcome = self.joint(draws, self.number, gamma, measure=logged)
        norms = clip_groups(self.clipped, self.config.optim.clip)
        broken = [name for name, norm in norms.items() if not norm < float("inf")]
        if broken and outcome.problem is None:
            outcome.problem = f"the gradient of {', '.join(broken)} is not finite"
        if outcome.problem:
            self._skip(outcome.problem, draws, norms)
        else:
            self.optimizer.step(place)
            self.joint.applied(outcome)
        self.number += 1
        seconds = float(outcome.frames) * self.frame_seconds
        self.audio_seconds += seconds
        log.step(
            self.number,
            step.epoch,
            outcome,
            grad_norm=norms,
            lr=self.optimizer.rates(place),
            audio_seconds=seconds,
            wait_seconds=self.loader.wait_seconds,
            run_seconds=time.perf_counter() - self._started,
            memory_gb=peak_memory_gb(self.device),
        )

    def _place(self, step: Step) -> float:
        """Steps from 0 to `total_steps`, which rates and gamma follow: epochs may differ in steps, and a budget in seconds."""
        if self.budget is not None:
            return min(1.0, self.audio_seconds / self.budget) * self.total_steps
        return step.epoch * self.steps_per_epoch + step.index * self.steps_per_epoch / self.loader.steps_per_epoch(step.epoch)

    def _is_last(self, epochs: int) -> bool:
        """Whether training ends here, after so many epochs."""
        return epochs >= self.options.epochs if self.budget is None else self.audio_seconds >= self.budget

    def _seconds_per_step(self) -> float:
        """The mean over a first epoch of every stream."""
        total = 0.0
        for name, source in self.loader.sources.items():
            objectives = [self.system.objectives[one] for one, stream in self.streams.items() if stream == name]
            views = {view for objective in objectives for view in objective.views}
            frames = torch.from_numpy(source.frames.astype("int64"))
            total += float(sum(view.frames(frames) for view in views)) * self.frame_seconds / self.loader.steps_per_epoch(0, name)
        return total

    def _skip(self, problem: str, draws: list, norms: dict[str, float]) -> None:
        """Leave the model as it is, keep the batch for inspection, and stop after too many."""
        self.skipped += 1
        path = self.exp / "log" / f"skipped_step{self.number}.pt"
        with open_atomic(path, "wb") as file:
            torch.save([{stream: [vars(batch) for batch in batches] for stream, batches in draw.items()} for draw in draws], file)
        found = " ".join(f"{name}={norm:.3g}" for name, norm in norms.items())
        count = f"{self.skipped} of at most {self.options.max_skipped}"
        print(f"step {self.number} skipped ({count}): {problem}; gradient norms {found}; batch in {path}", file=sys.stderr)
        if self.skipped > self.options.max_skipped:
            raise UserError(
                f"stopped after {self.skipped} skipped steps (train.max_skipped {self.options.max_skipped}); the last: {problem}"
            )

    def _end_epoch(self, epoch: int, log: TrainLog) -> None:
        """Development sets, the best checkpoints, and the checkpoint of the epoch."""
        last = self._is_last(epoch)
        if epoch % self.options.eval_every == 0 or last:
            batches = {name: eval_batches(source, self.config.batching.seconds) for name, source in self.dev.items()}
            losses, metrics = evaluate(self.system, batches, self.streams, self.dtype, self.options.seed)
            score = selection_score(losses, metrics, self.upper, self.options.select)
            log.dev(self.number, epoch, losses, metrics, score)
            # without dev sets, or on request, the newest are the best
            self.best.add(
                epoch,
                -float(epoch) if self.options.select == "last" or not self.dev else score,
                self.system.state_dict(),
                self.config.model_dump(mode="json"),
            )
        self.finished = last
        log.flush()
        self.save()
        self.best.clean()
        warning = self.weighting.warning()
        if warning and last:
            print(f"warning: {warning}", file=sys.stderr)


def longest_stream(config: TrainConfig, materials: Materials) -> str:
    """The default of train.epoch_of: the stream with an upper objective that has the most frames."""
    upper = {objective.stream for objective in config.objectives.values() if objective.level == "upper"}
    return max(sorted(upper), key=lambda name: int(materials.train[name].index.frames.sum(dtype="int64")))


def git_revision() -> str | None:
    """The commit of the toolkit, with `+` where files differ from it; None outside a checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


def peak_memory_gb(device: torch.device) -> float:
    """The most memory so far: of the device where it is a GPU, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
