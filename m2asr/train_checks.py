"""Checks of a training config that concern several of its sections, and the differences between two configs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from m2asr.config import check_exists
from m2asr.errors import UserError

if TYPE_CHECKING:
    from m2asr.train_config import Level, Objective, TrainConfig

WRITING = ("ctc", "attention", "transducer")  # types of objectives that write texts
SEARCHED = (*WRITING, "langid")  # types of objectives that decoding reads, and whose error on dev sets chooses epochs
SELECTIONS = ("dev", "loss", "last")
IDLE = {f"train.{key}" for key in ("log_every", "workers", "save_every", "max_skipped", "max_bad")}  # they do not change the model


def check_leads(objectives: Mapping[str, Objective]) -> None:
    """Raise UserError if two objectives with `lead` have the same type, stream, tokens and text, or if search does not read one of them."""
    leads: dict[tuple[str | None, ...], str] = {}
    for name, objective in objectives.items():
        if not objective.lead:
            continue
        where, options = f"objectives.{name}.lead", objective.options()
        if objective.type not in SEARCHED:
            raise UserError(f"{where}: search reads no objective of type {objective.type}; take it away")
        if not objective.decode:
            raise UserError(f"{where}: with `decode: false` search does not read it; take one of the two away")
        target = () if objective.type == "langid" else (objective.stream, options.get("tokens"), options.get("text", "text"))
        leader = leads.setdefault((objective.type, *target), name)
        if leader != name:
            raise UserError(f"{where}: objectives.{leader} leads already and writes the same text; keep one `lead: true`")


def check_selection(config: TrainConfig) -> None:
    """Raise UserError unless `train.select` is a known word, or lists objectives that have an error on dev sets.

    These must be trained in the last phase, since the epochs of this phase are chosen.
    """
    select, where = config.train.select, "train.select"
    if isinstance(select, str):
        if select not in SELECTIONS:
            raise UserError(f"{where}: '{select}' is none of 'dev', 'loss' and 'last'; write one of them, or a list of objectives")
        return
    trained = {name for level in config.levels_of(config.phase_list()[-1]) for name in level.objectives}
    for name in select:
        check_exists(name, config.objectives, where)
        objective = config.objectives[name]
        if objective.type not in SEARCHED:
            raise UserError(f"{where}: {name} has no error, as {objective.type} has none; name objectives of {', '.join(SEARCHED)}")
        if not objective.decode:
            raise UserError(f"{where}: {name} has `decode: false`, which keeps it out; take one of the two away")
        if not config.streams[objective.stream].dev:
            raise UserError(f"{where}: {name} has no error, as streams.{objective.stream} has no dev sets; give it `dev`")
        if name not in trained:
            raise UserError(f"{where}: {name} is not trained in the last phase, whose epochs are chosen; name others")


def check_levels(levels: Sequence[Level], objectives: Mapping[str, Objective], where: str) -> None:
    """Raise UserError unless levels name existing merged objectives, each once, and all levels but the first have a penalty."""
    assigned: set[str] = set()
    for index, level in enumerate(levels):
        for name in level.objectives:
            check_exists(name, objectives, f"{where}.{index}.objectives")
            if objectives[name].role == "regular":
                raise UserError(f"{where}.{index}.objectives: {name} is regular, so it is on no level; take it away here, or its `role`")
            if name in assigned:
                raise UserError(f"{where}.{index}.objectives: {name} is named twice; an objective is on one level; take one of them away")
            assigned.add(name)
        if index == 0 and level.penalty is not None:
            raise UserError(f"{where}.0.penalty: the first level has no penalty; take it away, it is the factor of a lower level")
        if index > 0 and level.penalty is None:
            raise UserError(f"{where}.{index}.penalty: missing; give the factor of this level's gradient, such as {{start: 0.0, end: 0.2}}")


def sets_with(text: str, config: TrainConfig) -> list[str]:
    """The sets of which a config reads the file `text`: as a target, as an input of the encoder, or for a tokenizer."""
    sets = [name for tokens in config.tokens.values() if tokens.text == text for name in tokens.sets]
    for objective in config.objectives.values():
        options, view = objective.options(), objective.options().get("view") or {}
        written = "tokens" in options and options.get("text", "text") == text
        if written or (view.get("input", "feats") != "feats" and view.get("text", "text") == text):
            stream = config.streams[objective.stream]
            sets += [*stream.sets, *stream.dev]
    return list(dict.fromkeys(sets))


def changed_keys(old: Mapping[str, Any], new: Mapping[str, Any], free: Collection[str] = ()) -> list[str]:
    """Dotted names of the values that differ between two dumped configs, without `free` names and those that do not change the model."""
    before, after = _flat(old), _flat(new)
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key) and key not in IDLE | set(free))


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return flat
