"""What does not go together in a training config, and what differs between two."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from m2asr.config import known
from m2asr.errors import UserError

if TYPE_CHECKING:
    from m2asr.train_config import Objective, TrainConfig

SEARCHED = ("ctc", "attention", "langid")  # types of objectives that decoding reads, and whose error on dev sets chooses epochs
SELECTIONS = ("dev", "loss", "last")
IDLE = {f"train.{key}" for key in ("log_every", "workers", "save_every", "max_skipped", "max_bad")}  # change nothing that is learned


def check_leads(objectives: Mapping[str, Objective]) -> None:
    """Raise UserError where two objectives of one type, that write one text in the tokens of one tokenizer on one stream, lead."""
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
        other = leads.setdefault((objective.type, *target), name)
        if other != name:
            raise UserError(f"{where}: objectives.{other} leads already, and writes the same; keep one `lead: true`")


def check_selection(config: TrainConfig) -> None:
    """Raise UserError unless what `train.select` names exists, and has an error on dev sets in the last phase, whose epochs are chosen."""
    select, where = config.train.select, "train.select"
    if isinstance(select, str):
        if select not in SELECTIONS:
            raise UserError(f"{where}: '{select}' is none of 'dev', 'loss' and 'last'; write one of them, or a list of objectives")
        return
    trained = {name for level in config.levels_of(config.phase_list()[-1]) for name in level.objectives}
    for name in select:
        known(name, config.objectives, where)
        objective = config.objectives[name]
        if objective.type not in SEARCHED:
            raise UserError(f"{where}: {name} has no error, as {objective.type} has none; name objectives of {', '.join(SEARCHED)}")
        if not objective.decode:
            raise UserError(f"{where}: {name} has `decode: false`, which keeps it out; take one of the two away")
        if not config.streams[objective.stream].dev:
            raise UserError(f"{where}: {name} has no error, as streams.{objective.stream} has no dev sets; give it `dev`")
        if name not in trained:
            raise UserError(f"{where}: {name} is not trained in the last phase, whose epochs are chosen; name others")


def changed_keys(old: Mapping[str, Any], new: Mapping[str, Any], free: Collection[str] = ()) -> list[str]:
    """Dotted names of values that differ between two dumped configs, but for `free` ones and those that do not change what is learned."""
    before, after = _flat(old), _flat(new)
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key) and key not in IDLE | set(free))


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return flat
