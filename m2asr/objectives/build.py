"""Build the system that a config describes."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from m2asr.config import check_exists, complete, construct
from m2asr.errors import UserError
from m2asr.models import DECODERS, ENCODERS, JOINERS, MODULES
from m2asr.models.decoder import TransformerDecoder
from m2asr.objectives import OBJECTIVES
from m2asr.objectives.fit import (
    MODULE_OPTIONS,
    check_reads,
    check_tied,
    check_trained,
    check_type,
    check_used,
    named_by_encoder,
    objectives_of,
    predictor_dim,
    vocabulary,
)
from m2asr.objectives.objective import Objective
from m2asr.objectives.system import System
from m2asr.train_config import TrainConfig

SYSTEM_ARGUMENTS = ("dim", "vocab", "modules", "frame_shift", "frame_length")


def resolve(config: TrainConfig) -> TrainConfig:
    """Fill in the defaults of all modules and objectives of a config. Raises UserError for options that they do not have."""
    data, objectives = config.model_dump(), {}
    for name, module in config.model.modules().items():
        kinds = ENCODERS if name == "encoder" else MODULES
        check_exists(module.type, kinds, f"model.{name}.type")
        data["model"][name] = complete(kinds, f"model.{name}", module.type_and_options(), kinds[module.type].system_arguments)
    for name, objective in config.objectives.items():
        common = {key: value for key, value in objective.model_dump().items() if key in type(objective).model_fields and key != "type"}
        options = complete(OBJECTIVES, f"objectives.{name}", objective.type_and_options(), SYSTEM_ARGUMENTS)
        for key in OBJECTIVES[objective.type].module_options:
            if isinstance(options[key], str):
                check_type(config, options[key], MODULE_OPTIONS[key], f"objectives.{name}.{key}")
        if isinstance(options.get("decoder"), dict):
            arguments = TransformerDecoder.system_arguments
            options["decoder"] = complete(DECODERS, f"objectives.{name}.decoder", options["decoder"], arguments)
        objectives[name] = {"type": options.pop("type"), **common, **options}
    data["objectives"] = objectives
    resolved = TrainConfig.model_validate(data)
    for name, module in resolved.model.modules().items():
        vocabulary(resolved, name)
        if module.type in JOINERS:
            predictor_dim(resolved, name)
    return resolved


def build_system(
    config: TrainConfig, vocab: Mapping[str, int], feat_dim: int, frame_shift: float = 10.0, frame_length: float = 25.0
) -> System:
    """Build the system of a config.

    `vocab` has the vocabulary sizes of the tokenizers; `frame_shift` and `frame_length` of the features are in milliseconds.
    Raises UserError where modules, objectives and views do not fit together.
    """
    modules, networks = _build_modules(config, vocab, feat_dim)
    objectives: dict[str, Objective] = {}
    for name, section in config.objectives.items():
        tap = section.options().get("tap")
        available = {
            "dim": networks.get(tap, modules["encoder"]).dim,
            "vocab": vocab.get(section.options().get("tokens", ""), 0),
            "modules": modules,
            "frame_shift": frame_shift,
            "frame_length": frame_length,
        }
        objectives[name] = construct(OBJECTIVES, f"objectives.{name}", section.type_and_options(), **available)
        check_reads(config, name, objectives[name], modules["encoder"], networks)
    if config.train.expert_parallel and any(view.average is not None for objective in objectives.values() for view in objective.views):
        raise UserError("train.expert_parallel: not with `teacher: ema`, which is the mean of a whole network; take one of them away")
    check_trained(modules, objectives)
    check_used(modules, objectives, named_by_encoder(config))
    return System(modules, objectives, config.model.cmvn, config.model.specaugment, feat_dim)


def _build_modules(config: TrainConfig, vocab: Mapping[str, int], feat_dim: int) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
    """All modules, the encoder first, and those among them whose states routers read. Raises UserError as build_system does."""
    sections = config.model.modules()
    embedding, head = named_by_encoder(config)
    if head:
        check_type(config, head, ["token_head"], "model.encoder.condition.head")
    networks = {name: _embedding_network(config, name, feat_dim) for name in (embedding,) if name}
    widths = {
        "embedding_dim": networks[embedding].dim if embedding else 0,
        "condition_vocab": vocab.get(vocabulary(config, head), 0) if head else 0,
    }
    encoder = construct(ENCODERS, "model.encoder", sections["encoder"].type_and_options(), feat_dim=feat_dim, **widths)
    if embedding in encoder.taps:
        raise UserError(f"model.{embedding}: states of the encoder have this name; choose another one")
    modules: dict[str, nn.Module] = {"encoder": encoder, **networks}
    for name, section in sorted(sections.items(), key=lambda item: "modules" in MODULES[item[1].type].system_arguments):
        if name not in modules:
            size = vocab.get(vocabulary(config, name) or "", 0)
            prefixes = sorted({options["prefix"] for options in objectives_of(config, name).values() if options.get("prefix")})
            available = {"feat_dim": feat_dim, "dim": encoder.dim, "memory_dim": encoder.dim, "vocab": size, "prefixes": prefixes}
            available["sizes"] = {tokens: vocab[tokens] for tokens in section.options().get("joined") or ()}
            available |= {"embedding_dim": 0, "condition_vocab": 0, "modules": modules, "masks": _masks_tokens(config, name)}
            if section.type == "tied_head":
                check_tied(config, name)
            if section.type in JOINERS:
                available["predictor_dim"] = predictor_dim(config, name)
            arguments = {key: available[key] for key in MODULES[section.type].system_arguments}
            modules[name] = construct(MODULES, f"model.{name}", section.type_and_options(), **arguments)
    return modules, networks


def _embedding_network(config: TrainConfig, name: str, feat_dim: int) -> nn.Module:
    """The network whose states routers read. Raises UserError where it does not exist or cannot be one."""
    where = "model.encoder.experts.embedding"
    check_type(config, name, ENCODERS, where)
    options = config.model.modules()[name].type_and_options()
    if name == "encoder" or any(options.get(key) for key in ("experts", "condition")):
        raise UserError(f"{where}: {name} has experts or a condition, or is the encoder itself; name another, plain encoder")
    return construct(ENCODERS, f"model.{name}", options, feat_dim=feat_dim, embedding_dim=0, condition_vocab=0)


def _masks_tokens(config: TrainConfig, embedding: str) -> bool:
    """Whether a view with noise reads tokens through this module."""
    views = [objective.options().get("view") or {} for objective in config.objectives.values()]
    return any(view.get("embed") == embedding and view.get("noise") for view in views)
