"""What a training config holds: streams, a model, objectives, how they are merged, in which order, and the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from m2asr.config import Component, Strict, Words, known, merge_patch
from m2asr.errors import UserError
from m2asr.model_config import Model, Objective
from m2asr.train_checks import check_leads, check_selection


class Features(Strict):
    """Where features come from: `dump` reads stored fbank, `audio` computes it from the recordings while training."""

    source: Literal["dump", "audio"] = "dump"


class Stream(Strict):
    """A named stream of utterances: training sets, development sets, and the language where it has only one."""

    sets: list[str] = Field(min_length=1)
    dev: list[str] = []
    lang: str | None = None
    speeds: list[Annotated[float, Field(gt=0)]] = Field([1.0], min_length=1)  # speed perturbation (Ko et al. 2015), drawn per utterance


class Tokens(Strict):
    """A tokenizer trained on one text file of some training sets; ids: 0 blank, 1 unk, last sos/eos."""

    type: Literal["char", "unigram", "bpe"] = "char"
    size: int | None = Field(None, ge=4)  # vocabulary size of unigram and bpe
    sets: list[str] = Field(min_length=1)
    text: str = "text"


class Weighting(Component):
    """How the gradients of a level's objectives are merged, and on which modules; the remaining keys belong to the weighting class.

    `normalize` divides gradients before they are weighted: l2 by length, loss by loss, loss+ by both. `every` k computes weights in
    every k-th step and uses them again between. `layers: conflicting` weights layers with a negative cosine, and averages on the rest.
    `gradients: exact` takes one backward pass over the modules per objective; `features` takes one per group of objectives that read the
    same states, with weights from the gradients at these states, and exact ones between groups.
    """

    over: list[str] = Field(["encoder"], min_length=1)  # modules
    normalize: Literal["none", "l2", "loss", "loss+"] = "none"
    every: int = Field(1, ge=1)
    layers: Literal["all", "conflicting"] = "all"
    gradients: Literal["exact", "features"] = "exact"


class Penalty(Strict):
    """The schedule of gamma, the factor of a lower level's gradient on the backbone.

    `start` to `end` linearly `over` this share of the phase; or, where `growth` is given, `growth` more per `every`
    up to `max` (M2ASR: growth 0.002, every epoch, max 1). `rescale` multiplies this level and the one above by min(1 / gamma, 1).
    """

    start: float = Field(0.0, ge=0)
    end: float = Field(0.2, ge=0)
    over: float = Field(1.0, gt=0, le=1)
    growth: float | None = Field(None, ge=0)
    every: Literal["step", "epoch"] = "epoch"
    max: float = Field(1.0, ge=0)
    rescale: bool = False

    @model_validator(mode="after")
    def _one_form(self) -> Penalty:
        given, unread = ("growth", ("end", "over")) if self.growth is not None else ("end", ("every", "max"))
        for name in unread:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise UserError(f"penalty.{name}: not read beside `{given}`; take one of them away")
        if self.growth is not None and self.start > self.max:
            raise UserError(f"penalty.start: {self.start:g} is above `max`, {self.max:g}, up to which it grows; lower it, or raise `max`")
        return self


class Level(Strict):
    """Objectives that are merged with each other; a level below another has a penalty, the factor of its gradient."""

    objectives: list[str] = Field(min_length=1)
    weighting: Weighting = Weighting(type="static")
    penalty: Penalty | None = None


class Batching(Strict):
    """How much speech a step sees; `seconds` is per step, split over streams, draws and micro-batches.

    A batch of the dev sets holds at most as much as the largest micro-batch.
    """

    seconds: float = Field(200.0, gt=0)
    language_temperature: float = Field(1.0, ge=1)
    buckets: int = Field(20, ge=1)
    cost: Literal["frames", "frames_tokens"] = "frames"
    token_frames: float = Field(4.0, ge=0)  # frames that one target token costs under frames_tokens
    shares: dict[str, Annotated[float, Field(gt=0)]] = {}  # share of the seconds per stream, relative to 1
    tokens_per_second: float = Field(15.0, gt=0, allow_inf_nan=False)  # of speech, for which tokens count where they are read


class Rates(Strict):
    """Learning rates per parameter group."""

    backbone: float = Field(5.0e-4, ge=0)
    heads: float = Field(5.0e-4, ge=0)
    ssl: float = Field(5.0e-3, ge=0)


class Muon(Strict):
    """How Muon moves the encoder's matrices."""

    rate: float = Field(3.0, gt=0)  # its learning rate, of lr.backbone
    momentum: float = Field(0.95, ge=0, lt=1)
    steps: int = Field(3, ge=1)  # of the iteration that makes an update orthogonal


class Optim(Strict):
    """Optimizer and schedule; the warm-up may differ per group. `muon` moves the encoder's matrices so, and all else as `adamw` does."""

    type: Literal["adamw", "adam", "muon"] = "adamw"
    lr: Rates = Rates()
    muon: Muon = Muon()
    schedule: Literal["warmup_cosine", "warmup_constant", "warmup_linear", "noam"] = "warmup_cosine"
    warmup_steps: int | dict[Literal["backbone", "heads", "ssl"], int] = 2000
    final_lr: float = Field(0.01, ge=0, le=1)  # of the peak, at the end of the cosine or the line
    weight_decay: float = Field(1.0e-2, ge=0)
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = Field(5.0, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("betas"), list):
            data = {**data, "betas": tuple(data["betas"])}
        return data


class Train(Strict):
    """The run: length, precision, selection, limits."""

    epochs: int | None = Field(None, ge=1)  # default: 100, where no hours are given
    hours: float | None = Field(None, gt=0)  # of audio through the encoder, instead of epochs: for equal budgets
    epoch_of: str | None = None
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = Field(1, ge=0)
    accumulation: int = Field(1, ge=1)
    average_best: int = Field(5, ge=1)
    select: Words = "dev"  # epochs by their errors on the dev sets, their losses there, the last; or objectives whose mean error decides
    eval_every: int = Field(1, ge=1)  # epochs between two looks at the dev sets
    save_every: int | None = Field(None, ge=1)  # steps between two checkpoints, beside the one at each epoch's end
    log_every: int = Field(20, ge=1)
    conflicts: bool | None = None  # measure how gradients stand to each other, a step per log line; default: where weights need them all
    max_skipped: int = Field(10, ge=0)
    max_bad: int = Field(0, ge=0)
    workers: int = Field(1, ge=0)

    @model_validator(mode="after")
    def _one_length(self) -> Train:
        if self.epochs is not None and self.hours is not None:
            raise UserError("train: give either epochs or hours, not both; null takes one away")
        return self


SINGLE = "train"  # the name of the phase where a config names none


class Init(Strict):
    """Weights that a phase starts from: a model.pt, and what the beginnings of its names are here.

    A beginning may go to several places, and to none (null). What other sources before this one gave is overwritten.
    """

    model_config = ConfigDict(extra="forbid", strict=True, validate_by_name=True, serialize_by_alias=True)
    path: str = Field(alias="from")
    map: dict[str, str | list[str] | None] = {}


class Phase(Strict):
    """A part of the run with its own levels and optimizer; it goes on with the weights of the one before.

    It lasts `epochs`, or a `share` of train.hours or train.epochs. With `every: epoch` it is interleaved with the next phase: before
    each epoch of that one it runs for `epochs` of its own (1 by default), which count towards the other's length in hours.
    """

    name: str
    epochs: int | None = Field(None, ge=1)
    share: float | None = Field(None, gt=0, le=1)
    every: Literal["epoch"] | None = None
    epoch_of: str | None = None
    levels: list[Level] | None = Field(None, min_length=1)  # default: those of the config
    optim: Optim | None = None  # what differs from the config's
    init: list[Init] | None = None  # sources, or a single one without the list

    @model_validator(mode="before")
    @classmethod
    def _one_source_is_a_list(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("init"), dict):
            return {**data, "init": [data["init"]]}
        return data


class TrainConfig(Strict):
    """One training run: streams, a backbone, objectives, and how they are merged, level by level and phase by phase.

    `level` of the objectives, `weighting` and `penalty` are the short form of one or two `levels`.
    """

    model: Model
    features: Features = Features()
    streams: dict[str, Stream] = Field(min_length=1)
    tokens: dict[str, Tokens] = {}
    objectives: dict[str, Objective] = Field(min_length=1)
    weighting: Weighting | None = None  # static where neither this nor levels are given
    penalty: Penalty | None = None
    levels: list[Level] | None = Field(None, min_length=1)
    phases: list[Phase] = []
    batching: Batching = Batching()
    optim: Optim = Optim()
    train: Train = Train()

    @model_validator(mode="before")
    @classmethod
    def _phases_inherit_optim(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("phases"), list) and isinstance(data.get("optim", {}), dict):
            given = [phase for phase in data["phases"] if isinstance(phase, dict) and isinstance(phase.get("optim"), dict)]
            optims = {id(phase): {**phase, "optim": merge_patch(data.get("optim", {}), phase["optim"])} for phase in given}
            return {**data, "phases": [optims.get(id(phase), phase) for phase in data["phases"]]}
        return data

    @model_validator(mode="after")
    def _names_exist(self) -> TrainConfig:
        for name, objective in self.objectives.items():
            known(objective.stream, self.streams, f"objectives.{name}.stream")
            tokens = objective.options().get("tokens")
            if tokens is not None:
                known(tokens, self.tokens, f"objectives.{name}.tokens")
            view = objective.options().get("view")
            if isinstance(view, dict) and view.get("input", "feats") != "feats":
                known(view["input"], self.tokens, f"objectives.{name}.view.input")
            decoder = objective.options().get("decoder")
            if isinstance(decoder, str):
                known(decoder, [name for name in self.model.modules() if name != "encoder"], f"objectives.{name}.decoder")
            if objective.role == "regular" and objective.level is not None:
                raise UserError(f"objectives.{name}.level: a regular objective stands on none; take it away, or `role`")
            if objective.role == "merged" and objective.weight != 1:
                raise UserError(f"objectives.{name}.weight: for `role: regular`; merged objectives are weighted by `weighting`")
        for name, stream in self.streams.items():
            if stream.speeds != [1.0] and self.reads(name) and ("feats", "") not in self.reads(name):
                raise UserError(f"streams.{name}.speeds: not read, since its objectives read tokens alone; take it away")
        for name in self.batching.shares:
            known(name, self.streams, "batching.shares")
        for where, stream in [("train", self.train.epoch_of), *((f"phases.{phase.name}", phase.epoch_of) for phase in self.phases)]:
            if stream is not None:
                known(stream, self.streams, f"{where}.epoch_of")
        return self

    @model_validator(mode="after")
    def _muon_is_read(self) -> TrainConfig:
        optims = [self.optim, *(phase.optim for phase in self.phases if phase.optim)]
        if any(optim.muon != Muon() for optim in optims) and all(optim.type != "muon" for optim in optims):
            raise UserError(f"optim.muon: not read under `type: {self.optim.type}`; set `type: muon`, or take it away")
        return self

    @model_validator(mode="after")
    def _levels_are_complete(self) -> TrainConfig:
        plain = self.levels is None and (not self.phases or any(phase.levels is None for phase in self.phases))
        if plain:
            self.weighting = self.weighting or Weighting(type="static")
            merged = [objective for objective in self.objectives.values() if objective.role == "merged"]
            for objective in merged:
                objective.level = objective.level or "upper"
            levels = {objective.level for objective in merged}
            if "upper" not in levels:
                raise UserError("objectives: every objective has `level: lower`; at least one must be `upper`")
            if "lower" in levels and self.penalty is None:
                raise UserError("penalty: missing; an objective has `level: lower`, so give `penalty: {start: 0.0, end: 0.2}`")
            if "lower" not in levels and self.penalty is not None:
                raise UserError("penalty: no objective has `level: lower`; give it to those below the others, or take `penalty` away")
        else:
            short = [f"objectives.{name}.level" for name, objective in self.objectives.items() if objective.level is not None]
            short += [key for key in ("weighting", "penalty") if getattr(self, key) is not None]
            if short:
                raise UserError(f"{short[0]}: not read where `levels` say it; put it there, or take `levels` away")
        _check_levels(self.levels or [], self.objectives, "levels")
        for phase in self.phases:
            _check_levels(phase.levels or [], self.objectives, f"phases.{phase.name}.levels")
        used = {name for phase in self.phase_list() for level in self.levels_of(phase) for name in level.objectives}
        used |= {name for phase in self.phase_list() for name in self.regular(phase)}
        idle = [name for name in self.objectives if name not in used]
        if idle:
            raise UserError(f"objectives.{idle[0]}: no level trains it; name it in one, or take it away")
        return self

    @model_validator(mode="after")
    def _theta_exists(self) -> TrainConfig:
        for phase in self.phase_list():
            overs = [level.weighting.over for level in self.levels_of(phase)]
            for name in (name for over in overs for name in over):
                known(name, self.model.modules(), "weighting.over")
            if any(set(over) != set(overs[0]) for over in overs):
                raise UserError("weighting.over: the levels of a phase must merge gradients on the same modules; name the same in each")
        return self

    @model_validator(mode="after")
    def _phases_have_lengths(self) -> TrainConfig:
        names = [phase.name for phase in self.phases]
        for name in names:
            if names.count(name) > 1 or not name.isidentifier():
                raise UserError(f"phases: `{name}` must be a name of letters, digits and _ that no other phase has")
        if self.phases and self.phases[-1].every:
            raise UserError(f"phases.{names[-1]}.every: it runs before the epochs of the phase after it, and there is none")
        for phase in self.phases:
            if phase.every and phase.share:
                raise UserError(f"phases.{phase.name}.share: with `every: epoch` give the `epochs` that it runs each time")
        main = [phase for phase in self.phases if not phase.every]
        if len(main) == 1 and main[0].epochs is None:
            main[0].share = main[0].share or 1.0
        for phase in main:
            if (phase.epochs is None) == (phase.share is None):
                raise UserError(f"phases.{phase.name}: give either epochs or share, a part of train.hours or train.epochs")
        in_epochs = [phase for phase in main if phase.epochs]
        total = sum(phase.share or 0 for phase in main)
        if len(in_epochs) not in (0, len(main)) or (main and not in_epochs and abs(total - 1) > 1e-6):
            raise UserError(f"phases: their lengths must all be epochs, or be shares that sum to 1, not {total:g}")
        epochs = sum(phase.epochs for phase in in_epochs) or None
        if epochs and (self.train.hours is not None or self.train.epochs not in (None, epochs)):
            raise UserError("train: the phases have epochs of their own; take train.epochs and train.hours away, or give them shares")
        if self.train.hours is None:
            self.train.epochs = epochs or self.train.epochs or 100
        return self

    @model_validator(mode="after")
    def _search_is_clear(self) -> TrainConfig:
        check_leads(self.objectives)
        check_selection(self)
        return self

    def sets(self) -> list[str]:
        """The names of all sets that the streams read, training sets and then dev sets."""
        train = [one for stream in self.streams.values() for one in stream.sets]
        return list(dict.fromkeys(train + [one for stream in self.streams.values() for one in stream.dev]))

    def reads(self, stream: str) -> list[tuple[str, str]]:
        """What the objectives of a stream read: ("feats", ""), or tokens and the text of which they are; features first."""
        views = [objective.options().get("view") or {} for objective in self.objectives.values() if objective.stream == stream]
        kinds = [(view.get("input", "feats"), view.get("text", "text")) for view in views]
        reads = {("feats", "") if kind == "feats" else (kind, text) for kind, text in kinds}
        return sorted(reads, key=lambda read: (read[0] != "feats", read))

    def audio_sets(self) -> list[str]:
        """The sets whose features are read, training sets and then dev sets; the others are texts."""
        streams = [stream for name, stream in self.streams.items() if ("feats", "") in self.reads(name)]
        train = [one for stream in streams for one in stream.sets]
        return list(dict.fromkeys(train + [one for stream in streams for one in stream.dev]))

    def stored_speeds(self) -> dict[str, list[float]]:
        """The speeds other than 1 of which the training reads stored features, by set."""
        found: dict[str, set[float]] = {}
        for stream in self.streams.values() if self.features.source == "dump" else ():
            for name in stream.sets:
                found.setdefault(name, set()).update(set(stream.speeds) - {1.0})
        return {name: sorted(speeds) for name, speeds in found.items() if speeds}

    def phase_list(self) -> list[Phase]:
        """The phases, or the single one where the config names none."""
        return self.phases or [Phase(name=SINGLE, share=1.0)]

    def levels_of(self, phase: Phase) -> list[Level]:
        """The levels that a phase trains, from upper to lower."""
        if phase.levels or self.levels:
            return phase.levels or self.levels
        merged = {name: objective for name, objective in self.objectives.items() if objective.role == "merged"}
        names = {level: [name for name, objective in merged.items() if objective.level == level] for level in ("upper", "lower")}
        levels = [Level(objectives=names["upper"], weighting=self.weighting)]
        lower = Weighting(type="static", over=self.weighting.over)
        return levels + ([Level(objectives=names["lower"], weighting=lower, penalty=self.penalty)] if names["lower"] else [])

    def regular(self, phase: Phase) -> dict[str, float]:
        """The regular objectives of a phase, those that read a stream of its levels, and the weights of their losses."""
        streams = {self.objectives[name].stream for level in self.levels_of(phase) for name in level.objectives}
        found = {name: objective for name, objective in self.objectives.items() if objective.role == "regular"}
        return {name: objective.weight for name, objective in found.items() if objective.stream in streams}


def _check_levels(levels: Sequence[Level], objectives: Mapping[str, Objective], where: str) -> None:
    seen: set[str] = set()
    for place, level in enumerate(levels):
        for name in level.objectives:
            known(name, objectives, f"{where}.{place}.objectives")
            if objectives[name].role == "regular":
                raise UserError(f"{where}.{place}.objectives: {name} is regular and stands on no level; take it away here, or its `role`")
            if name in seen:
                raise UserError(f"{where}.{place}.objectives: {name} is named twice; an objective stands on one level")
            seen.add(name)
        if place == 0 and level.penalty is not None:
            raise UserError(f"{where}.0.penalty: the first level has none; a penalty is the factor of a level below another")
        if place > 0 and level.penalty is None:
            raise UserError(f"{where}.{place}.penalty: missing; give the factor of this level's gradient, such as {{start: 0.0, end: 0.2}}")
