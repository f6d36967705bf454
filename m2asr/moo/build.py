"""From the section `weighting` of a config to a weighting."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from m2asr import train_config
from m2asr.config import construct
from m2asr.errors import UserError
from m2asr.moo import WEIGHTINGS
from m2asr.moo.borrowed import Unavailable
from m2asr.moo.collectives import Collectives
from m2asr.moo.feature_level import FeatureLevel
from m2asr.moo.level import Level
from m2asr.moo.three_draw_level import ThreeDrawLevel
from m2asr.moo.tracked_level import TrackedLevel
from m2asr.moo.weighting import Weighting


def build_level(section: train_config.Level, apart: bool, reads: Mapping[str, Hashable], group: Collectives | None = None) -> Level:
    """A level of a config, with the gradients of its objectives kept `apart` or not. Raises UserError like `build_weighting`.

    `reads` says what states every objective reads, which `gradients: features` groups them by.
    """
    weighting = build_weighting(section.weighting, section.objectives)
    if section.weighting.gradients == "features":
        groups: dict[Hashable, list[str]] = {}
        for name in section.objectives:
            groups.setdefault(reads[name], []).append(name)
        try:
            across = build_weighting(section.weighting, ["+".join(names) for names in groups.values()])
        except UserError as error:
            count = f"`features` merges {len(groups)} groups of objectives that read the same states"
            raise UserError(f"weighting.gradients: {count}, and for them {error}; set `gradients: exact`") from None
        return FeatureLevel(section.objectives, weighting, across, list(groups.values()), section.weighting.every, apart, group)
    level = TrackedLevel if weighting.tracks else ThreeDrawLevel if weighting.draws == 3 else Level
    return level(section.objectives, weighting, section.weighting.every, section.weighting.layers, apart, group)


def build_weighting(section: train_config.Weighting, objectives: list[str]) -> Weighting:
    """The weighting that a config names.

    Raises UserError for options that do not exist or do not go together, and where what the weighting needs is not installed.
    """
    try:
        weighting: Weighting = construct(WEIGHTINGS, "weighting", section.type_and_options(), objectives=objectives)
    except Unavailable as error:
        raise UserError(f'weighting.type: {section.type} needs {error}; pip install "m2asr[moo]"') from None
    chosen = {"normalize": section.normalize != "none", "every": section.every > 1, "layers": section.layers == "conflicting"}
    chosen["gradients"] = section.gradients == "features"
    for key in [key for key, is_chosen in chosen.items() if is_chosen]:
        if not weighting.dynamic:
            raise UserError(f"weighting.{key}: `{section.type}` does not look at gradients; leave this key out, or choose another type")
        if key == "normalize" and weighting.draws > 1:
            raise UserError(f"weighting.normalize: needs one batch per step, `{section.type}` takes {weighting.draws}; try mgda or moco")
        if key == "layers" and weighting.draws > 2:
            raise UserError("weighting.layers: with `samples: 3` all layers share one backward pass; set `samples: 2`, or `layers: all`")
        if key == "gradients" and weighting.recalls:
            raise UserError(
                f"weighting.gradients: `features` weighs the states of one batch, but `{section.type}` goes on from the gradients of "
                "earlier steps; set `gradients: exact`, or try mgda"
            )
        if key == "gradients" and (chosen["normalize"] or chosen["layers"]):
            option, value = ("normalize", "none") if chosen["normalize"] else ("layers", "all")
            raise UserError(
                f"weighting.{option}: needs every objective's gradient on the backbone, which `gradients: features` never computes; "
                f"set `{option}: {value}`, or `gradients: exact`"
            )
    if chosen["layers"] and chosen["every"]:
        raise UserError("weighting.layers: conflicts are looked for in every step; set `every: 1`, or `layers: all`")
    weighting.normalize = section.normalize
    return weighting
