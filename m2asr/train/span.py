"""A span of a run: one phase, and those that are interleaved with its epochs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from m2asr.errors import UserError
from m2asr.form import check_form
from m2asr.train.phase import Phase
from m2asr.train_config import Train


class Span:
    """A main phase, the last of `phases`, and the phases that run before each of its epochs; its length is in epochs or in audio."""

    def __init__(self, phases: Sequence[Phase], options: Train) -> None:
        self.phases, self.leads, self.main = list(phases), list(phases[:-1]), phases[-1]
        section = self.main.section
        self.seconds = None if options.hours is None else 3600 * options.hours * section.share
        self.epochs = None if self.seconds else section.epochs or max(1, round(options.epochs * section.share))
        self.audio_seconds = 0.0  # through the encoder so far, without padding
        steps = [_visits(phase) * phase.loader.steps_per_epoch() for phase in self.phases]  # per epoch of the main phase
        per_epoch = sum(count * phase.seconds_per_step() for count, phase in zip(steps, self.phases, strict=True))
        if self.seconds and not per_epoch:
            raise UserError(
                f"phase {self.main.name}: none of its objectives encodes anything of its streams, so train.hours would never pass; "
                "are their windows longer than every utterance?"
            )
        epochs = self.epochs or self.seconds / per_epoch
        for count, phase in zip(steps, self.phases, strict=True):
            phase.total_steps = max(1, round(epochs * count))

    def current(self) -> Phase:
        """The phase that the next step belongs to."""
        waiting = [lead for lead in self.leads if lead.epoch < (self.main.epoch + 1) * _visits(lead)]
        return waiting[0] if waiting else self.main

    def position(self, phase: Phase) -> float:
        """Where one of the phases stands, in steps from 0 to its `total_steps`: epochs may differ in steps, and a budget in seconds."""
        done = phase.position / (self.epochs * _visits(phase)) if self.seconds is None else min(1.0, self.audio_seconds / self.seconds)
        return done * phase.total_steps

    @property
    def over(self) -> bool:
        """Whether the span has reached its length."""
        return self.audio_seconds >= self.seconds if self.seconds is not None else self.main.epoch >= self.epochs

    def start(self) -> None:
        """Take memory for its phases."""
        for phase in self.phases:
            phase.start()

    def stop(self) -> None:
        """Give memory and processes back."""
        for phase in self.phases:
            phase.stop()

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values for a checkpoint."""
        return {"audio_seconds": self.audio_seconds, "phases": {phase.name: phase.state_dict() for phase in self.phases}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, in a span that was started."""
        check_form(state, {"audio_seconds": 0.0, "phases": {phase.name: None for phase in self.phases}}, "span")
        self.audio_seconds = state["audio_seconds"]
        for phase in self.phases:
            phase.load_state_dict(state["phases"][phase.name])


def spans_of(phases: Iterable[Phase], options: Train) -> list[Span]:
    """The phases in order, interleaved ones with the one that they lead to."""
    spans, leads = [], []
    for phase in phases:
        leads.append(phase)
        if not phase.leads:
            spans.append(Span(leads, options))
            leads = []
    return spans


def _visits(phase: Phase) -> int:
    """Epochs of the phase for each epoch of its span's main phase."""
    return (phase.section.epochs or 1) if phase.leads else 1
