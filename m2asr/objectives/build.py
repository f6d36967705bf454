"""From a config to a system."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

from m2asr.config import complete, construct, known
from m2asr.errors import UserError
from m2asr.models import DECODERS, ENCODERS, MODULES
from m2asr.models.decoder import TransformerDecoder
from m2asr.objectives import OBJECTIVES
from m2asr.objectives.objective import Objective
from m2asr.objectives.system import System
from m2asr.objectives.view import View
from m2asr.train_checks import SEARCHED
from m2asr.train_config import TrainConfig

OBJECTIVE_GIVEN = ("dim", "vocab", "decoders", "frame_shift", "frame_length")


def resolve(config: TrainConfig) -> TrainConfig:
    """The config with the defaults of its modules and objectives filled in. Raises UserError for options they do not have."""
    data, objectives = config.model_dump(), {}
    for name, module in config.model.modules().items():
        kinds = ENCODERS if name == "encoder" else MODULES
        known(module.type, kinds, f"model.{name}.type")
        data["model"][name] = complete(kinds, f"model.{name}", module.own(), kinds[module.type].given)
    for name, objective in config.objectives.items():
        common = {key: value for key, value in objective.model_dump().items() if key in type(objective).model_fields and key != "type"}
        own = complete(OBJECTIVES, f"objectives.{name}", objective.own(), OBJECTIVE_GIVEN)
        if isinstance(own.get("decoder"), str):
            _check_type(config, own["decoder"], DECODERS, f"objectives.{name}.decoder")
        elif isinstance(own.get("decoder"), dict):
            decoder = TransformerDecoder.given
            own["decoder"] = complete(DECODERS, f"objectives.{name}.decoder", own["decoder"], decoder)
        objectives[name] = {"type": own.pop("type"), **common, **own}
    data["objectives"] = objectives
    resolved = TrainConfig.model_validate(data)
    for name in resolved.model.modules():
        _vocabulary(resolved, name)
    return resolved


def build_system(
    config: TrainConfig, vocab: Mapping[str, int], feat_dim: int, frame_shift: float = 10.0, frame_length: float = 25.0
) -> System:
    """Build the system of a config, given the vocabulary sizes of its tokenizers and the feature geometry (milliseconds)."""
    sections = config.model.modules()
    encoder = construct(ENCODERS, "model.encoder", sections["encoder"].own(), feat_dim=feat_dim)
    modules: dict[str, nn.Module] = {"encoder": encoder}
    for name, section in sections.items():
        if name != "encoder":
            size = vocab.get(_vocabulary(config, name) or "", 0)
            prefixes = sorted({reader["prefix"] for reader in _readers(config, name) if reader.get("prefix")})
            given = {"feat_dim": feat_dim, "dim": encoder.dim, "memory_dim": encoder.dim, "vocab": size, "prefixes": prefixes}
            wanted = {key: given[key] for key in MODULES[section.type].given}
            modules[name] = construct(MODULES, f"model.{name}", section.own(), **wanted)
    objectives: dict[str, Objective] = {}
    for name, section in config.objectives.items():
        size = vocab.get(section.options().get("tokens", ""), 0)
        given = {"dim": encoder.dim, "vocab": size, "decoders": modules, "frame_shift": frame_shift, "frame_length": frame_length}
        objectives[name] = construct(OBJECTIVES, f"objectives.{name}", section.own(), **given)
        for view, tap in objectives[name].reads:
            _check_view(config, name, view, encoder)
            skipped = {f"block{number}" for number in range(1, view.start + 1)}
            known(tap, [other for other in encoder.taps if other not in skipped], f"objectives.{name}.tap")
    views = [view for objective in objectives.values() for view in objective.views]
    used = {name for objective in objectives.values() for name in objective.runs}
    used |= {name for view in views for name in (view.embed, view.mask and view.mask.vector) if name}
    for name in modules:
        if name != "encoder" and name not in used:
            raise UserError(f"model.{name}: no objective uses it; name it in one, or leave it out")
    return System(modules, objectives, config.model.cmvn, config.model.specaugment, feat_dim)


def _check_view(config: TrainConfig, objective: str, view: View, encoder: nn.Module) -> None:
    """Raises UserError where a view names what is not there."""
    where = f"objectives.{objective}.view"
    for key, name, kind in (("embed", view.embed, "embedding"), ("mask.vector", view.mask and view.mask.vector, "mask_vector")):
        if name is not None:
            _check_type(config, name, [kind], f"{where}.{key}")
    if (view.input == "feats") != (view.embed is None):
        raise UserError(f"{where}: `input` names the tokens that are read, and `embed` the module that reads them; give both or neither")
    if view.embed is not None and (tokens := config.model.modules()[view.embed].options().get("tokens")) != view.input.split(":")[0]:
        raise UserError(f"{where}.input: model.{view.embed} reads the tokens {tokens}, not {view.input.split(':')[0]}")
    if not 0 <= view.start < len(encoder.blocks):
        raise UserError(f"{where}.start: the encoder has {len(encoder.blocks)} blocks; give a number from 0 to {len(encoder.blocks) - 1}")
    section = config.objectives[objective]
    if section.decode and section.type in SEARCHED and (view.causal or view.start or view.input != "feats"):
        raise UserError(f"{where}: search reads whole utterances from the front end on; set `decode: false`")


def _check_type(config: TrainConfig, module: str, types: Collection[str], where: str) -> None:
    """Raises UserError for a module that does not exist, or has another type."""
    sections = config.model.modules()
    known(module, sections, where)
    if sections[module].type not in types:
        raise UserError(f"{where}: model.{module} is of the type {sections[module].type}; name one of the type {' or '.join(types)}")


def _vocabulary(config: TrainConfig, module: str) -> str | None:
    """The tokens that a module reads or writes. Raises UserError where no objective uses a decoder, or those that do differ in tokens."""
    section = config.model.modules()[module]
    if "vocab" not in MODULES[section.type].given:
        return None
    if "tokens" in section.options():
        known(section.options()["tokens"], config.tokens, f"model.{module}.tokens")
        return section.options()["tokens"]
    readers = _readers(config, module)
    if not readers:
        raise UserError(f"model.{module}: no objective has `decoder: {module}`; name it in one, or leave it out")
    tokens = sorted({str(options.get("tokens")) for options in readers})
    if len(tokens) > 1:
        raise UserError(f"model.{module}: its objectives have the tokens {', '.join(tokens)}; a decoder writes one vocabulary")
    return tokens[0]


def _readers(config: TrainConfig, decoder: str) -> list[dict[str, Any]]:
    """The options of the objectives that share a decoder."""
    options = [objective.options() for objective in config.objectives.values()]
    return [option for option in options if option.get("decoder") == decoder]
