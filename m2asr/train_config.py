"""The schema of a training config: streams, a model, objectives, their merging in levels and phases, and the run."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from m2asr.config import Component, Strict, Words, check_exists, merge_patch
from m2asr.data_config import Features, Stream, Tokens
from m2asr.errors import UserError
from m2asr.limits import Bounded, Count, Factor, Natural, Positive, PositiveShare, Seed, Share, ShareBelowOne
from m2asr.model_config import Model, Objective
from m2asr.names import Name, ObjectiveName, TokensName
from m2asr.train_checks import check_leads, check_levels, check_selection


class Weighting(Component):
    """The method that merges the gradients of a level's objectives, and its modules; the remaining keys belong to the weighting class.

    `normalize` divides gradients before they are weighted: `l2` by their length, `loss` by the loss, `loss+` by both. `every: k` computes
    weights in every k-th step and keeps them for the steps between. `layers: conflicting` uses the method on layers with a negative
    cosine, and averages gradients on the other layers. `gradients: exact` needs one backward pass over the modules per objective.
    `gradients: features` needs one per group of objectives that read the same states: weights within a group come from the gradients at
    these states, weights between groups from exact gradients.
    """

    over: list[str] = Field(["encoder"], min_length=1)  # modules
    normalize: Literal["none", "l2", "loss", "loss+"] = "none"
    every: Count = 1
    layers: Literal["all", "conflicting"] = "all"
    gradients: Literal["exact", "features"] = "exact"


class Penalty(Strict):
    """The schedule of gamma, the factor of a lower level's gradient on the backbone.

    Gamma goes linearly from `start` to `end` over the share `over` of the phase. With `growth` it grows instead by `growth` per `every`,
    up to `max` (M2ASR: growth 0.002, every epoch, max 1). `rescale` multiplies this level and the one above by min(1 / gamma, 1).
    """

    start: Factor = 0.0
    end: Factor = 0.2
    over: PositiveShare = 1.0
    growth: Factor | None = None
    every: Literal["step", "epoch"] = "epoch"
    max: Factor = 1.0
    rescale: bool = False

    @model_validator(mode="after")
    def _one_form(self) -> Penalty:
        chosen, ignored = ("growth", ("end", "over")) if self.growth is not None else ("end", ("every", "max"))
        for name in ignored:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise UserError(f"penalty.{name}: not read beside `{chosen}`; take one of them away")
        if self.growth is not None and self.start > self.max:
            raise UserError(f"penalty.start: {self.start:g} is above `max`, {self.max:g}, up to which it grows; lower it, or raise `max`")
        return self


class Level(Strict):
    """Objectives whose gradients are merged with each other; every level but the first has a penalty, the factor of its gradient."""

    objectives: list[str] = Field(min_length=1)
    weighting: Weighting = Weighting(type="static")
    penalty: Penalty | None = None


class Batching(Strict):
    """The amount of speech in a step; `seconds` is per step and is split over streams, draws and micro-batches.

    A batch of the dev sets holds at most as much as the largest micro-batch.
    """

    seconds: Positive = 200.0
    language_temperature: Annotated[float, Field(ge=1, le=1e9)] = 1.0
    buckets: Bounded = 20
    cost: Literal["frames", "frames_tokens"] = "frames"
    token_frames: Factor = 4.0  # frames that one target token costs under frames_tokens
    shares: dict[str, Positive] = {}  # relative share of the seconds per stream, 1 by default
    tokens_per_second: Positive = 15.0  # so many tokens that are read count as a second of speech


class Rates(Strict):
    """Learning rates per parameter group."""

    backbone: Factor = 5.0e-4
    heads: Factor = 5.0e-4
    ssl: Factor = 5.0e-3


class Muon(Strict):
    """Options of Muon, which updates the encoder's matrices."""

    rate: Positive = 3.0  # its learning rate as a factor of lr.backbone
    momentum: ShareBelowOne = 0.95
    steps: Annotated[int, Field(ge=1, le=100)] = 3  # iterations that make an update orthogonal


class Optim(Strict):
    """Optimizer and schedule; the warm-up may differ per group. With type `muon`, AdamW updates all but the encoder's matrices."""

    type: Literal["adamw", "adam", "muon"] = "adamw"
    lr: Rates = Rates()
    muon: Muon = Muon()
    schedule: Literal["warmup_cosine", "warmup_constant", "warmup_linear", "noam"] = "warmup_cosine"
    warmup_steps: Natural | dict[Literal["backbone", "heads", "ssl"], Natural] = 2000
    final_lr: Share = 0.01  # rate at the end of the cosine or the line, as a share of the peak
    weight_decay: Factor = 1.0e-2
    betas: tuple[ShareBelowOne, ShareBelowOne] = (0.9, 0.98)
    clip: Positive = 5.0

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("betas"), list):
            data = {**data, "betas": tuple(data["betas"])}
        return data


class Train(Strict):
    """The run: its length, precision, selection of epochs, and limits."""

    epochs: Count | None = None  # default: 100, where no hours are given
    hours: Positive | None = None  # hours of audio through the encoder, instead of epochs: for equal budgets
    epoch_of: str | None = None
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: Seed = 1
    accumulation: Bounded = 1
    expert_parallel: bool = False  # every process has a part of the experts, and states go where their expert is; for static weights
    average_best: Count = 5
    select: Words = "dev"  # epochs by error on the dev sets, by loss there, the last ones; or objectives whose mean error decides
    eval_every: Count = 1  # epochs between two evaluations on the dev sets
    save_every: Count | None = None  # steps between two checkpoints, beside the one at each epoch's end
    log_every: Count = 20
    conflicts: bool | None = None  # measure conflicts of gradients in one step per log line; default: if weights need all gradients
    max_skipped: Natural = 10
    max_bad: Natural = 0
    workers: Annotated[int, Field(ge=0, le=1000)] = 1

    @model_validator(mode="after")
    def _one_length(self) -> Train:
        if self.epochs is not None and self.hours is not None:
            raise UserError("train: give either epochs or hours, not both; null takes one away")
        return self


SINGLE = "train"  # the name of the only phase if the config has no phases


class Init(Strict):
    """A source of initial parameters of a phase: a model.pt, and a map from prefixes of its names to prefixes in this model.

    A prefix may map to several prefixes, or to none (null). Later sources overwrite what earlier ones have set.
    """

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)
    path: str = Field(alias="from")
    map: dict[str, str | list[str] | None] = {}
    noise: Factor = 0.0  # of weights copied to every expert, as a share of their standard deviation


class Phase(Strict):
    """A period of the run with its own levels and optimizer; it starts from the parameters of the phase before.

    It lasts `epochs`, or a `share` of train.hours or train.epochs. With `every: epoch` it is interleaved with the next phase: it runs for
    `epochs` (1 by default) before each epoch of the next phase, and these count towards the length of the next phase in hours.
    """

    name: Name
    epochs: Count | None = None
    share: PositiveShare | None = None
    every: Literal["epoch"] | None = None
    epoch_of: str | None = None
    levels: list[Level] | None = Field(None, min_length=1)  # default: those of the config
    optim: Optim | None = None  # the options that differ from those of the config
    init: list[Init] | None = None  # sources, or a single one without the list

    @model_validator(mode="before")
    @classmethod
    def _one_source_is_a_list(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("init"), dict):
            return {**data, "init": [data["init"]]}
        return data


class TrainConfig(Strict):
    """One training run: streams, a model, objectives, and the levels and phases in which these are merged and trained.

    `level` of the objectives, `weighting` and `penalty` are the short form of one or two `levels`. A stream, tokenizer or objective that is
    null does not exist.
    """

    model: Model
    features: Features = Features()
    streams: dict[Name, Stream] = Field(min_length=1)
    tokens: dict[TokensName, Tokens] = {}
    objectives: dict[ObjectiveName, Objective] = Field(min_length=1)
    weighting: Weighting | None = None  # static where neither this nor levels are given
    penalty: Penalty | None = None
    levels: list[Level] | None = Field(None, min_length=1)
    phases: list[Phase] = []
    batching: Batching = Batching()
    optim: Optim = Optim()
    train: Train = Train()

    @model_validator(mode="before")
    @classmethod
    def _null_is_none(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        sections = {key: data[key] for key in ("streams", "tokens", "objectives") if isinstance(data.get(key), dict)}
        return data | {key: {name: value for name, value in section.items() if value is not None} for key, section in sections.items()}

    @model_validator(mode="before")
    @classmethod
    def _phases_inherit_optim(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("phases"), list) and isinstance(data.get("optim", {}), dict):
            partial = [phase for phase in data["phases"] if isinstance(phase, dict) and isinstance(phase.get("optim"), dict)]
            optims = {id(phase): {**phase, "optim": merge_patch(data.get("optim", {}), phase["optim"])} for phase in partial}
            return {**data, "phases": [optims.get(id(phase), phase) for phase in data["phases"]]}
        return data

    @model_validator(mode="after")
    def _names_exist(self) -> TrainConfig:
        for name, objective in self.objectives.items():
            check_exists(objective.stream, self.streams, f"objectives.{name}.stream")
            tokens = objective.options().get("tokens")
            if tokens is not None:
                check_exists(tokens, self.tokens, f"objectives.{name}.tokens")
            view = objective.options().get("view")
            if isinstance(view, dict) and view.get("input", "feats") != "feats":
                check_exists(view["input"], self.tokens, f"objectives.{name}.view.input")
            decoder = objective.options().get("decoder")
            if isinstance(decoder, str):
                check_exists(decoder, [name for name in self.model.modules() if name != "encoder"], f"objectives.{name}.decoder")
            if objective.role == "regular" and objective.level is not None:
                raise UserError(f"objectives.{name}.level: a regular objective is on no level; take `level` or `role` away")
            if objective.role == "merged" and objective.weight != 1:
                raise UserError(f"objectives.{name}.weight: only for `role: regular`; `weighting` weights merged objectives; take it away")
        for name, stream in self.streams.items():
            if stream.speeds != [1.0] and self.reads(name) and ("feats", "") not in self.reads(name):
                raise UserError(f"streams.{name}.speeds: not used, since its objectives read only tokens; take it away")
        for name in self.batching.shares:
            check_exists(name, self.streams, "batching.shares")
        for where, stream in [("train", self.train.epoch_of), *((f"phases.{phase.name}", phase.epoch_of) for phase in self.phases)]:
            if stream is not None:
                check_exists(stream, self.streams, f"{where}.epoch_of")
        return self

    @model_validator(mode="after")
    def _muon_is_read(self) -> TrainConfig:
        optims = [self.optim, *(phase.optim for phase in self.phases if phase.optim)]
        if any(optim.muon != Muon() for optim in optims) and all(optim.type != "muon" for optim in optims):
            raise UserError(f"optim.muon: not read under `type: {self.optim.type}`; set `type: muon`, or take it away")
        return self

    @model_validator(mode="after")
    def _levels_are_complete(self) -> TrainConfig:
        short_form = self.levels is None and (not self.phases or any(phase.levels is None for phase in self.phases))
        if short_form:
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
                raise UserError("penalty: no objective has `level: lower`; give it to the lower objectives, or take `penalty` away")
        else:
            conflicting = [f"objectives.{name}.level" for name, objective in self.objectives.items() if objective.level is not None]
            conflicting += [key for key in ("weighting", "penalty") if getattr(self, key) is not None]
            if conflicting:
                raise UserError(f"{conflicting[0]}: not read beside `levels`; put it into a level, or take `levels` away")
        check_levels(self.levels or [], self.objectives, "levels")
        for phase in self.phases:
            check_levels(phase.levels or [], self.objectives, f"phases.{phase.name}.levels")
        trained = {name for phase in self.phase_list() for level in self.levels_of(phase) for name in level.objectives}
        trained |= {name for phase in self.phase_list() for name in self.regular(phase)}
        idle = [name for name in self.objectives if name not in trained]
        if idle and self.objectives[idle[0]].role == "regular":
            stream = self.objectives[idle[0]].stream
            raise UserError(f"objectives.{idle[0]}: it is regular, and no objective on a level reads its stream {stream}; give it another")
        if idle:
            raise UserError(f"objectives.{idle[0]}: no level trains it; name it in a level, or take it away")
        return self

    @model_validator(mode="after")
    def _theta_exists(self) -> TrainConfig:
        for phase in self.phase_list():
            merged_modules = [level.weighting.over for level in self.levels_of(phase)]
            for name in (name for modules in merged_modules for name in modules):
                check_exists(name, self.model.modules(), "weighting.over")
            if any(set(modules) != set(merged_modules[0]) for modules in merged_modules):
                raise UserError("weighting.over: the levels of a phase must merge gradients on the same modules; give all of them one list")
        return self

    @model_validator(mode="after")
    def _phases_have_lengths(self) -> TrainConfig:
        names = [phase.name for phase in self.phases]
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"phases: `{name}` is the name of two phases; give each its own")
        if self.phases and self.phases[-1].every:
            raise UserError(f"phases.{names[-1]}.every: it runs before the epochs of the next phase, and there is none; add one")
        for phase in self.phases:
            if phase.every and phase.share:
                raise UserError(f"phases.{phase.name}.share: with `every: epoch` give the `epochs` that it runs each time")
        main = [phase for phase in self.phases if not phase.every]
        if len(main) == 1 and main[0].epochs is None:
            main[0].share = main[0].share or 1.0
        for phase in main:
            if (phase.epochs is None) == (phase.share is None):
                raise UserError(f"phases.{phase.name}: give either epochs or share, its share of train.hours or train.epochs")
        in_epochs = [phase for phase in main if phase.epochs]
        total = sum(phase.share or 0 for phase in main)
        if len(in_epochs) not in (0, len(main)) or (main and not in_epochs and abs(total - 1) > 1e-6):
            raise UserError(f"phases: their lengths must all be epochs, or be shares that sum to 1, not {total:g}")
        epochs = sum(phase.epochs for phase in in_epochs) or None
        if epochs and (self.train.hours is not None or self.train.epochs not in (None, epochs)):
            raise UserError("train: the phases have `epochs`; take train.epochs and train.hours away, or give the phases shares")
        if self.train.hours is None:
            self.train.epochs = epochs or self.train.epochs or 100
        return self

    @model_validator(mode="after")
    def _search_is_clear(self) -> TrainConfig:
        check_leads(self.objectives)
        check_selection(self)
        return self

    def sets(self) -> list[str]:
        """The names of all sets of the streams, training sets before dev sets."""
        train = [name for stream in self.streams.values() for name in stream.sets]
        return list(dict.fromkeys(train + [name for stream in self.streams.values() for name in stream.dev]))

    def reads(self, stream: str) -> list[tuple[str, str]]:
        """The inputs that the objectives of a stream read, features first: ("feats", ""), or a tokenizer and a text file."""
        views = [objective.options().get("view") or {} for objective in self.objectives.values() if objective.stream == stream]
        kinds = [(view.get("input", "feats"), view.get("text", "text")) for view in views]
        reads = {("feats", "") if kind == "feats" else (kind, text) for kind, text in kinds}
        return sorted(reads, key=lambda read: (read[0] != "feats", read))

    def audio_sets(self) -> list[str]:
        """The names of the sets whose features are read, training sets before dev sets; the other sets have only texts."""
        streams = [stream for name, stream in self.streams.items() if ("feats", "") in self.reads(name)]
        train = [set_name for stream in streams for set_name in stream.sets]
        return list(dict.fromkeys(train + [set_name for stream in streams for set_name in stream.dev]))

    def stored_speeds(self) -> dict[str, list[float]]:
        """By training set, the speeds other than 1 whose stored features are read."""
        by_set: dict[str, set[float]] = {}
        for stream in self.streams.values() if self.features.source == "dump" else ():
            for name in stream.sets:
                by_set.setdefault(name, set()).update(set(stream.speeds) - {1.0})
        return {name: sorted(speeds) for name, speeds in by_set.items() if speeds}

    def phase_list(self) -> list[Phase]:
        """The phases of the config, or else one phase for the whole run."""
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
        """The regular objectives that read a stream of a phase's levels, and the weights of their losses."""
        streams = {self.objectives[name].stream for level in self.levels_of(phase) for name in level.objectives}
        objectives = {name: objective for name, objective in self.objectives.items() if objective.role == "regular"}
        return {name: objective.weight for name, objective in objectives.items() if objective.stream in streams}
