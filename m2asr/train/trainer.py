"""The training loop: steps, development sets, checkpoints; one loop for every system, phase and weighting."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from typing import Any

import torch

from m2asr.config import check_config, dump_config
from m2asr.data.batch import Batch
from m2asr.errors import UserError
from m2asr.files import open_atomic
from m2asr.form import Misfit, check_form
from m2asr.moo.collectives import Collectives
from m2asr.moo.level import Level
from m2asr.objectives.build import build_system, resolve
from m2asr.objectives.objective import Objective
from m2asr.objectives.system import System
from m2asr.out_of_memory import describe, explained
from m2asr.report import plots
from m2asr.report.conflicts import largest_pull
from m2asr.report.log import NoLog, TrainLog
from m2asr.train import checkpoint
from m2asr.train.average import average
from m2asr.train.evaluate import evaluate, selection_score
from m2asr.train.expert_parallel import part_of, spread_experts, whole
from m2asr.train.initialize import initialize, other_tokens
from m2asr.train.materials import Materials, with_languages
from m2asr.train.memory import check_fit, check_model_fits, keep_freed_memory, peak_memory_gb
from m2asr.train.optim import clip_groups
from m2asr.train.phase import Phase
from m2asr.train.precision import choose
from m2asr.train.span import Span, spans_of
from m2asr.train_checks import changed_keys
from m2asr.train_config import TrainConfig

COUNTERS = ("number", "skipped", "idle", "train_seconds", "audio_seconds", "span_index")  # plain numbers of a checkpoint
LESS_MEMORY = "lower batching.seconds, raise train.accumulation, or leave long utterances out"
LENGTH = {"train.epochs", "train.hours"}
UNTRAINED = "warning: model.{0}: no objective has `tap: {0}`, so routers read it as it starts; add a ctc there, or start from a trained one"


class Trainer:
    """Trains a run in the folder `exp` from a resolved config; it goes on from the last checkpoint there.

    Of several processes, a `group`, all train, and the first writes.
    """

    def __init__(self, config: TrainConfig, materials: Materials, exp: Path, device: str = "cpu", group: Collectives | None = None) -> None:
        config = with_languages(config, materials.train)
        self.config, self.exp, self.device = config, exp, torch.device(device)
        self.group = group or Collectives()
        self.writes = self.group.rank == 0
        self.options = config.train
        self.dtype = choose(self.options.precision, self.device)
        keep_freed_memory()

        geometry = materials.geometry
        build = partial(build_system, config, materials.vocab, len(materials.mean), geometry.frame_shift, geometry.frame_length)
        check_model_fits(build)
        torch.manual_seed(self.options.seed)
        self.system: System = build().to(self.device)
        if self.options.expert_parallel:
            spread_experts(self.system, self.group)
        self.sizes = self.system.sizes(self.group.world)  # by parameter
        self.parameters = sum(self.sizes.values())
        self.system.mean.copy_(materials.mean)
        self.system.scale.copy_(materials.scale)
        self.clipped = self.system.module_parameters()
        self.dev = materials.dev
        self.geometry = materials.geometry

        sections = enumerate(config.phase_list())
        self.phases = [Phase(config, section, index, self.system, materials, self.dtype, self.group) for index, section in sections]
        for phase in self.phases:
            for source in phase.section.init or ():
                if not Path(source.path).is_file():
                    raise UserError(f"phases.{phase.name}.init.from: {source.path}: no such file; give the model.pt of another run")
        self.spans = spans_of(self.phases, self.options)
        self.total_steps = sum(phase.total_steps for phase in self.phases)
        self.span_index = 0  # of the present span
        self.best = checkpoint.BestCheckpoints(exp / "checkpoints", self.options.average_best)  # of the present span
        self.number = 0  # steps done
        self.skipped = 0
        self.idle = 0  # steps without a target for any objective
        self.train_seconds = 0.0
        self.audio_seconds = 0.0  # through the encoder, without padding
        self._started = time.perf_counter()
        self._warned: list[Level | Objective] = []
        self._never: set[str] = set()  # objectives of the present span that no step since its start had a target for

    @property
    def span(self) -> Span:
        """The phase that is being trained, with those interleaved with it."""
        return self.spans[self.span_index]

    @property
    def finished(self) -> bool:
        """Whether the last phase has reached its length."""
        return self.span_index == len(self.spans) - 1 and self.span.over

    def describe(self) -> str:
        """A few lines for the start of the log: sizes, streams, phases, memory of the gradients."""
        theta = {name for phase in self.phases for name in phase.theta}
        shared = sum(size for name, size in self.sizes.items() if name.split(".")[0] in theta)
        streams = {name: len(source) for phase in self.phases for name, source in phase.loader.sources.items()}
        rows = max(sum(phase.rows for phase in span.phases) for span in self.spans)
        size = max(sum(phase.gradient_bytes for phase in span.phases) for span in self.spans)
        dtype = str(self.dtype).removeprefix("torch.")
        return "\n".join(
            [
                f"{self.parameters:,} parameters, {shared:,} of them shared ({', '.join(sorted(theta))}); {dtype} on {self.device}",
                "utterances per stream: " + ", ".join(f"{name} {size}" for name, size in streams.items()),
                *(phase.describe() for phase in self.phases),
                f"gradients: {rows} of the shared modules, {size / 1e6:,.1f} MB",
                *([UNTRAINED.format(self.system.untrained)] if self.system.untrained else []),
            ]
        )

    def resume(self) -> bool:
        """Load the newest checkpoint, if there is one. Raises UserError where it belongs to another config."""
        with redirect_stderr(sys.stderr if self.writes else io.StringIO()):  # a warning is told once
            state = checkpoint.load_latest(self.exp / "checkpoints", self._restore)
        if state is None:
            self._agree(None)
        return state is not None

    def _agree(self, number: int | None) -> None:
        """Raise UserError unless all processes go on from the same step."""
        if len(set(self.group.exchange(number))) > 1:
            raise UserError(f"{self.exp}: the processes of this run read different checkpoints; its folder must be shared by all machines")

    def _restore(self, state: dict[str, Any]) -> None:
        """Go on from the parts of a checkpoint. Raises UserError where it belongs to another config, Misfit where a part does not fit."""
        state.setdefault("span_index", state.get("place", 0))  # its name in older checkpoints
        for name in COUNTERS:
            check_form(state.setdefault(name, 0), getattr(self, name), name)  # steps without a target were not always counted
        self._agree(state["number"])
        # a run may become longer, but not for some of its phases alone
        free = {"train.average_best"} | (LENGTH if state["span_index"] == 0 else set())
        try:
            before = resolve(check_config(TrainConfig, state["config"], "config"))  # with the defaults of keys that are new since
        except UserError as error:
            raise Misfit(str(error)) from None
        changed = changed_keys(before.model_dump(mode="json"), self.config.model_dump(mode="json"), free)
        if changed:
            raise UserError(
                f"{self.exp}: its checkpoint was trained with other values of {', '.join(changed)}; restore them, choose another --tag, "
                "or start from its weights in a new folder with --init_from"
            )
        checkpoint.load_weights(self.system, part_of(state["model"], self.system.spread_names, self.group), self.exp / "checkpoints")
        if not 0 <= state["span_index"] < len(self.spans):
            raise Misfit(f"span_index is {state['span_index']}, the config has {len(self.spans)}")
        self.span.stop()  # of an attempt with another checkpoint
        for name in COUNTERS:
            setattr(self, name, state[name])
        self._check_fit()
        self.span.start()
        try:
            self.span.load_state_dict(state["span"])
        except UserError as error:  # the config is the same, so its objectives and streams are
            raise Misfit(str(error)) from None
        self.best.load_state_dict(state["best"])

    def run(self) -> None:
        """Train to the last epoch, then average the best checkpoints into model.pt and draw the plots."""
        if self.writes:
            with open_atomic(self.exp / "config.yaml") as file:
                file.write(dump_config(self.config))
            with open_atomic(self.exp / "fbank.yaml") as file:  # with which recordings become features wherever the model is used
                file.write(dump_config(self.geometry))
        self._same_weights()
        with (TrainLog if self.writes else NoLog)(self.exp, self.total_steps, self.number, self.options.log_every) as log:
            self._started = time.perf_counter() - self.train_seconds
            if self.number == 0:
                self._begin()
            try:
                while not self.finished:
                    self._train(log)
            finally:
                self.span.stop()
        if self.writes:
            self._finish()

    def _finish(self) -> None:
        average([self.best.path(epoch) for epoch in sorted(self.best.scores)], self.exp / "model.pt")
        plots.draw(self.exp)
        with open_atomic(self.exp / "train_info.json") as file:
            json.dump(self.facts(), file, indent=1)

    def facts(self) -> dict[str, Any]:
        """The facts about the run that results.json has."""
        return {
            "config": self.config.model_dump(mode="json"),
            "seed": self.options.seed,
            "git": git_revision(),
            "params": self.parameters,
            "train_seconds": self.train_seconds,
            "audio_seconds": self.audio_seconds,
            "steps": self.number,
            "skipped": self.skipped,
            "idle": self.idle,
            "peak_memory_gb": peak_memory_gb(self.device),
            "largest_pull": largest_pull(self.exp),
        }

    def save(self) -> None:
        """Write the checkpoint from which training goes on bit for bit."""
        self.train_seconds = time.perf_counter() - self._started
        state: dict[str, Any] = {
            "config": self.config.model_dump(mode="json"),
            "model": whole(self.system.state_dict(), self.system.spread_names, self.group),
            "span": self.span.state_dict(),
            "best": self.best.state_dict(),
        }
        state |= {name: getattr(self, name) for name in COUNTERS}
        if self.writes:
            checkpoint.save(self.exp / "checkpoints", state)

    def _begin(self) -> None:
        """Start the present span, from other weights where its phases say so. Raises UserError if there is not enough memory."""
        self._check_fit()
        for phase in self.span.phases:
            if sources := phase.section.init:
                lines = initialize(self.system, sources, self.options.seed, self.group) + other_tokens(sources, self.exp / "tokens")
                print("\n".join(f"phase {phase.name}: {line}" for line in lines))
            for name in phase.streams:
                self.system.objectives[name].restart()
        self.span.start()
        self._never = {name for phase in self.span.phases for name in phase.streams}

    def _check_fit(self) -> None:
        """Raises UserError if the present span, or one after it, needs more memory than is free."""
        for span in self.spans[self.span_index :]:
            check_fit(span.phases, self.system, self.group.local)
        self.group.exchange(None)  # nobody takes memory before all have looked

    def _train(self, log: TrainLog) -> None:
        """Do one optimizer step and, after the last step of an epoch or of the span, what follows it."""
        span, phase = self.span, self.span.current()
        position = span.position(phase)
        step = phase.next_step()
        draws = step.draws()
        measure = self.options.conflicts is not False and (self.number + 1) % self.options.log_every == 0
        read = [batch for draw in draws for batches in draw.values() for batch in batches]
        with explained(lambda: f"step {self.number + 1}: {describe(read)}", LESS_MEMORY):
            outcome = phase.gradients(draws, position, step.epoch, measure)
        norms = clip_groups(self.clipped, phase.optimizer.config.clip, phase.joint.passes.spread, self.group)
        broken = [name for name, norm in norms.items() if not norm < float("inf")]
        if broken and outcome.problem is None:
            outcome.problem = f"the gradient of {', '.join(broken)} is not finite"
        if self.group.all_reduce(torch.tensor([float(outcome.problem is not None)])).item():  # all skip, or none
            outcome.problem = next(filter(None, self.group.exchange(outcome.problem)))
        if outcome.problem:
            self._skip(outcome.problem, draws, norms)
        elif outcome.idle:
            self._rest()
        else:
            phase.optimizer.step(position)
            phase.joint.applied(outcome)
        self._never -= phase.streams.keys() - set(outcome.inactive)
        self.number += 1
        self.audio_seconds += outcome.seconds
        span.audio_seconds += outcome.seconds
        log.step(
            self.number,
            step.epoch,
            outcome,
            phase=phase.name,
            levels=[level.objectives for level in phase.levels],
            grad_norm=norms,
            lr=phase.optimizer.rates(position),
            audio_seconds=outcome.seconds,
            wait_seconds=sum(other.loader.wait_seconds for other in self.phases),
            run_seconds=time.perf_counter() - self._started,
            memory_gb=peak_memory_gb(self.device),
        )
        if self.number % self.options.log_every == 0:
            self._warn_of_metrics(log.means)
        if phase is span.main and phase.epoch > step.epoch:
            if span.seconds is not None and not span.audio_seconds:
                raise UserError(
                    f"phase {phase.name}: in a whole epoch no objective had a target, so train.hours would never pass; "
                    "are utterances too short, or targets too long for them?"
                )
            self._end_epoch(phase.epoch, log)
        elif span.over:  # its audio is used up within an epoch
            self._end_epoch(span.main.epoch + 1, log)
        elif self.options.save_every and self.number % self.options.save_every == 0:
            log.flush()
            self.save()

    def _skip(self, problem: str, draws: list, norms: dict[str, float]) -> None:
        """Leave the model as it is, keep the batch for inspection, and stop after too many."""
        self.skipped += 1
        process = "" if self.writes else f"_process{self.group.rank}"
        path = self.exp / "log" / f"skipped_step{self.number}{process}.pt"
        with open_atomic(path, "wb") as file:
            torch.save([{stream: [_plain(batch) for batch in batches] for stream, batches in draw.items()} for draw in draws], file)
        lengths = " ".join(f"{name}={norm:.3g}" for name, norm in norms.items())
        count = f"{self.skipped} of at most {self.options.max_skipped}"
        if self.writes:
            print(f"step {self.number} skipped ({count}): {problem}; gradient norms {lengths}; batch in {path}", file=sys.stderr)
        if self.skipped > self.options.max_skipped:
            raise UserError(
                f"stopped after {self.skipped} skipped steps (train.max_skipped {self.options.max_skipped}); the last: {problem}"
            )

    def _rest(self) -> None:
        """Leave model, optimizer and weights as they are in a step without a target for any objective; told once in a run."""
        self.idle += 1
        if self.idle == 1 and self.writes:
            why = "no objective has a target in its batches: too short utterances, or too long targets for them"
            print(f"warning: step {self.number + 1} changes nothing, and is counted as idle: {why}", file=sys.stderr)

    def _end_epoch(self, epoch: int, log: TrainLog) -> None:
        """Development sets, the best checkpoints, and the checkpoint of the epoch; after the last one, the next phase."""
        main, last = self.span.main, self.span.over
        if epoch % self.options.eval_every == 0 or last:
            read = {name: source for name, source in self.dev.items() if name in main.loader.sources}
            batches = {name: main.loader.dev_batches(source) for name, source in read.items()}
            losses, metrics = evaluate(self.system, batches, main.streams, self.dtype, self.group)
            score = selection_score(losses, metrics, self._choosers(main), self.options.select)
            log.dev(self.number, epoch, losses, metrics, score, phase=main.name)
            weights = whole(self.system.state_dict(), self.system.spread_names, self.group)
            if self.writes:
                # without dev sets, or on request, the newest are the best
                self.best.add(
                    epoch,
                    -float(epoch) if self.options.select == "last" or not read else score,
                    weights,
                    self.config.model_dump(mode="json"),
                )
        self._warn()
        if last and not self.finished:
            self.span.stop()
            self.span_index += 1
            self.best = checkpoint.BestCheckpoints(self.exp / "checkpoints", self.options.average_best)
            self._begin()
        log.flush()
        self.save()
        if self.writes:
            self.best.clean()

    def _choosers(self, phase: Phase) -> list[str]:
        """The objectives that choose the best epochs of a phase: those that `select` names, else those of the first level that decode."""
        select = self.options.select
        named = [] if isinstance(select, str) else [name for name in select if name in phase.streams]
        return named or [name for name in phase.upper if self.config.objectives[name].decode] or phase.upper

    def _warn(self) -> None:
        """Tell once of objectives without any target in an epoch, and of every level whose weights behave badly."""
        if self._never and self.writes:
            names = ", ".join(sorted(self._never))
            print(f"warning: {names}: an epoch without a target: short utterances, long targets, or too small a mask", file=sys.stderr)
        self._never = set()
        for phase in self.span.phases:
            for level in phase.levels:
                if self.writes and level not in self._warned and (warning := level.warning()):
                    self._warned.append(level)
                    print(f"warning: phase {phase.name}: {warning}", file=sys.stderr)

    def _warn_of_metrics(self, means: Mapping[str, Mapping[str, float]]) -> None:
        """Tell once of every objective whose mean metrics since the last line of the log are bad."""
        for name, metrics in means.items():
            objective = self.system.objectives[name]
            if objective not in self._warned and (warning := objective.warning(metrics)):
                self._warned.append(objective)
                print(f"warning: {name}, steps up to {self.number}: {warning}", file=sys.stderr)

    def _same_weights(self) -> None:
        """All processes start from the weights of the first, whatever machines they are on."""
        for name, value in self.system.state_dict().items():
            if name not in self.system.spread_names:  # these are parts of what all have drawn from the same seed
                value.copy_(self.group.broadcast(value.contiguous()))


def _plain(batch: Batch) -> dict[str, Any]:
    """A batch as plain values, without what was drawn for it, which follows from its key."""
    return {name: value for name, value in vars(batch).items() if name not in ("drawn", "shares")}


def git_revision() -> str | None:
    """The commit of the toolkit, with `+` where files differ from it; None outside a checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")
