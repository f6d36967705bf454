"""What does not go together in a training config: heads that lead, what selects epochs. All raise UserError."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from m2asr.config import known
from m2asr.errors import UserError

if TYPE_CHECKING:
    from m2asr.train_config import Objective, TrainConfig

SEARCHED = ("ctc", "attention", "langid")  # types of objectives that decoding reads, and whose error on dev sets chooses epochs
SELECTIONS = ("dev", "loss", "last")


def check_leads(objectives: Mapping[str, Objective]) -> None:
    """Of the objectives of one type that write one text in the tokens of one tokenizer on one stream, at most one leads."""
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
    """What `train.select` names exists, and has an error on the dev sets in the last phase, whose epochs are chosen."""
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
