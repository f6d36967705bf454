"""From the section `weighting` of a config to a weighting."""

from __future__ import annotations

from m2asr import train_config
from m2asr.config import construct
from m2asr.errors import UserError
from m2asr.moo import WEIGHTINGS
from m2asr.moo.level import Level
from m2asr.moo.weighting import Weighting


def build_level(section: train_config.Level, apart: bool) -> Level:
    """A level of a config, with the gradients of its objectives kept `apart` or not. Raises UserError like `build_weighting`."""
    weighting = build_weighting(section.weighting, section.objectives)
    return Level(section.objectives, weighting, section.weighting.every, section.weighting.layers, apart)


def build_weighting(section: train_config.Weighting, objectives: list[str]) -> Weighting:
    """The weighting that a config names. Raises UserError for options that do not exist or do not go together."""
    weighting: Weighting = construct(WEIGHTINGS, "weighting", section.own(), objectives=objectives)
    given = {"normalize": section.normalize != "none", "every": section.every > 1, "layers": section.layers == "conflicting"}
    for key in [key for key, is_given in given.items() if is_given]:
        if not weighting.dynamic:
            raise UserError(f"weighting.{key}: `{section.type}` does not look at gradients; leave this key out, or choose another type")
        if key == "normalize" and weighting.draws > 1:
            raise UserError(f"weighting.normalize: needs one batch per step, `{section.type}` takes {weighting.draws}; try mgda or moco")
        if key == "layers" and weighting.draws > 2:
            raise UserError("weighting.layers: with `samples: 3` all layers share one backward pass; set `samples: 2`, or `layers: all`")
    if given["layers"] and given["every"]:
        raise UserError("weighting.layers: conflicts are looked for in every step; set `every: 1`, or `layers: all`")
    weighting.normalize = section.normalize
    return weighting
