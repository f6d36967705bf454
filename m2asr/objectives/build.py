"""Build the system that a config describes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import nn

from m2asr.config import check_exists, complete, construct
from m2asr.errors import UserError
from m2asr.models import DECODERS, ENCODERS, HEADS, JOINERS, MODULES, PREDICTORS, QUANTIZERS
from m2asr.models.decoder import TransformerDecoder
from m2asr.objectives import OBJECTIVES
from m2asr.objectives.objective import Objective
from m2asr.objectives.system import System
from m2asr.objectives.view import View
from m2asr.train_checks import SEARCHED
from m2asr.train_config import TrainConfig

SYSTEM_ARGUMENTS = ("dim", "vocab", "modules", "frame_shift", "frame_length")
MODULE_OPTIONS = {  # options of objectives that name modules of these types
    "decoder": DECODERS,
    "predictor": PREDICTORS,
    "joiner": JOINERS,
    "quantizer": QUANTIZERS,
    "head": HEADS,
}


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
                _check_type(config, options[key], MODULE_OPTIONS[key], f"objectives.{name}.{key}")
        if isinstance(options.get("decoder"), dict):
            arguments = TransformerDecoder.system_arguments
            options["decoder"] = complete(DECODERS, f"objectives.{name}.decoder", options["decoder"], arguments)
        objectives[name] = {"type": options.pop("type"), **common, **options}
    data["objectives"] = objectives
    resolved = TrainConfig.model_validate(data)
    for name, module in resolved.model.modules().items():
        _vocabulary(resolved, name)
        if module.type in JOINERS:
            _predictor_dim(resolved, name)
    return resolved


def build_system(
    config: TrainConfig, vocab: Mapping[str, int], feat_dim: int, frame_shift: float = 10.0, frame_length: float = 25.0
) -> System:
    """Build the system of a config.

    `vocab` has the vocabulary sizes of the tokenizers; `frame_shift` and `frame_length` of the features are in milliseconds.
    Raises UserError where modules, objectives and views do not fit together.
    """
    sections = config.model.modules()
    embedding, head = _named_by_encoder(config)
    if head:
        _check_type(config, head, ["token_head"], "model.encoder.condition.head")
    networks = {name: _embedding_network(config, name, feat_dim) for name in (embedding,) if name}
    widths = {
        "embedding_dim": networks[embedding].dim if embedding else 0,
        "condition_vocab": vocab.get(_vocabulary(config, head), 0) if head else 0,
    }
    encoder = construct(ENCODERS, "model.encoder", sections["encoder"].type_and_options(), feat_dim=feat_dim, **widths)
    if embedding in encoder.taps:
        raise UserError(f"model.{embedding}: states of the encoder have this name; choose another one")
    modules: dict[str, nn.Module] = {"encoder": encoder, **networks}
    for name, section in sorted(sections.items(), key=lambda item: "modules" in MODULES[item[1].type].system_arguments):
        if name not in modules:
            size = vocab.get(_vocabulary(config, name) or "", 0)
            prefixes = sorted({options["prefix"] for options in _readers(config, name).values() if options.get("prefix")})
            available = {"feat_dim": feat_dim, "dim": encoder.dim, "memory_dim": encoder.dim, "vocab": size, "prefixes": prefixes}
            available["sizes"] = {tokens: vocab[tokens] for tokens in section.options().get("joined") or ()}
            available |= {"embedding_dim": 0, "condition_vocab": 0, "modules": modules, "masks": _masks_tokens(config, name)}
            if section.type == "tied_head":
                _check_tied(config, name)
            if section.type in JOINERS:
                available["predictor_dim"] = _predictor_dim(config, name)
            arguments = {key: available[key] for key in MODULES[section.type].system_arguments}
            modules[name] = construct(MODULES, f"model.{name}", section.type_and_options(), **arguments)
    objectives: dict[str, Objective] = {}
    for name, section in config.objectives.items():
        size = vocab.get(section.options().get("tokens", ""), 0)
        dim = networks.get(section.options().get("tap"), encoder).dim
        available = {"dim": dim, "vocab": size, "modules": modules, "frame_shift": frame_shift, "frame_length": frame_length}
        objectives[name] = construct(OBJECTIVES, f"objectives.{name}", section.type_and_options(), **available)
        if section.type == "langid" and config.model.router_languages():
            raise UserError(
                f"objectives.{name}: its states would know the language, which routers read; take model.encoder.experts.languages away"
            )
        for view, tap in objectives[name].reads:
            _check_view(config, name, view, encoder)
            skipped = {f"{kind}{number}" for number in range(1, view.start + 1) for kind in ("block", "router")}
            if "tap" in section.options():  # a single tap with states, for a head
                skipped.update(encoder.router_taps)
            readable = [encoder_tap for encoder_tap in encoder.taps if encoder_tap not in skipped] + list(networks)
            check_exists(tap, readable, f"objectives.{name}.tap")
        _check_width(name, section.options().get("tap"), dim, encoder.dim, objectives[name])
    views = [view for objective in objectives.values() for view in objective.views]
    if config.train.expert_parallel and any(view.average is not None for view in views):
        raise UserError("train.expert_parallel: not with `teacher: ema`, which is the mean of a whole network; take one of them away")
    used_names = {name for objective in objectives.values() for name in objective.runs}
    _check_trained(modules, used_names, objectives)
    used_names |= {name for objective in objectives.values() for name in objective.labelled_by}
    used_names |= {name for view in views for name in (view.embed, view.mask and view.mask.vector) if name}
    used_names |= {name for name in (embedding, head) if name}
    for name in modules:
        if name != "encoder" and name not in used_names:
            raise UserError(f"model.{name}: no objective uses this module; name it in an objective, or remove it from the config")
    return System(modules, objectives, config.model.cmvn, config.model.specaugment, feat_dim)


def _named_by_encoder(config: TrainConfig) -> tuple[str | None, str | None]:
    """The modules that the encoder uses: the embedding network of its routers, and the head that its states are conditioned on."""
    options = config.model.encoder.options()
    experts, condition = options.get("experts") or {}, options.get("condition") or {}
    return experts.get("embedding"), condition.get("head")


def _embedding_network(config: TrainConfig, name: str, feat_dim: int) -> nn.Module:
    """The network whose states routers read. Raises UserError where it does not exist or cannot be one."""
    where = "model.encoder.experts.embedding"
    _check_type(config, name, ENCODERS, where)
    options = config.model.modules()[name].type_and_options()
    if name == "encoder" or any(options.get(key) for key in ("experts", "condition")):
        raise UserError(f"{where}: {name} has experts or a condition, or is the encoder itself; name another, plain encoder")
    return construct(ENCODERS, f"model.{name}", options, feat_dim=feat_dim, embedding_dim=0, condition_vocab=0)


def _check_tied(config: TrainConfig, head: str) -> None:
    """Raise UserError if a head is tied to what is no embedding, or to one of other tokens than its objectives write."""
    embedding = config.model.modules()[head].options()["embedding"]
    _check_type(config, embedding, ["embedding"], f"model.{head}.embedding")
    tokens = config.model.modules()[embedding].options()["tokens"]
    for name, options in _readers(config, head).items():
        if options.get("tokens", tokens) != tokens:
            raise UserError(f"objectives.{name}.tokens: model.{embedding} has the tokens {tokens}, not {options['tokens']}")


def _masks_tokens(config: TrainConfig, embedding: str) -> bool:
    """Whether a view with noise reads tokens through this module."""
    views = [objective.options().get("view") or {} for objective in config.objectives.values()]
    return any(view.get("embed") == embedding and view.get("noise") for view in views)


def _check_trained(modules: Mapping[str, nn.Module], trained: Collection[str], objectives: Mapping[str, Objective]) -> None:
    """Raise UserError if a module with parameters gives labels, but no objective trains it."""
    for objective, name in [(objective, name) for objective, user in objectives.items() for name in user.labelled_by]:
        if name not in trained and list(modules[name].parameters()):
            raise UserError(
                f"model.{name}: it gives labels (objectives.{objective}), and no objective trains it; a quantizer learns in an objective "
                "of the type contrastive, a head in one of the type ctc; a projection_quantizer needs no training"
            )


def _check_width(objective: str, tap: str | None, dim: int, encoder_dim: int, built: Objective) -> None:
    """Raise UserError if an objective would bring states of the encoder together with those of a network of another width."""
    others = [f"model.{name}" for name in built.runs] + [f"the tap {other}" for _, other in built.reads if other != tap]
    if others and dim != encoder_dim:
        raise UserError(
            f"objectives.{objective}.tap: the states of {tap} have {dim} channels, but {others[-1]} is of the encoder, which has "
            f"{encoder_dim}; give both the same `dim`, or choose another tap"
        )


def _check_view(config: TrainConfig, objective: str, view: View, encoder: nn.Module) -> None:
    """Raise UserError if a view names modules, tokens or blocks that do not exist or do not fit together."""
    where = f"objectives.{objective}.view"
    for key, name, kind in (("embed", view.embed, "embedding"), ("mask.vector", view.mask and view.mask.vector, "mask_vector")):
        if name is not None:
            _check_type(config, name, [kind], f"{where}.{key}")
    if (view.input == "feats") != (view.embed is None):
        raise UserError(f"{where}: `input` names the tokens to read, and `embed` the module that reads them; give both or neither")
    if view.noise is not None and view.embed is None:
        raise UserError(f"{where}.noise: it corrupts tokens, and this view reads features; give `input` and `embed`, or a `mask` instead")
    if view.embed is not None and (tokens := config.model.modules()[view.embed].options().get("tokens")) != view.input.split(":")[0]:
        raise UserError(f"{where}.input: model.{view.embed} reads the tokens {tokens}, not {view.input.split(':')[0]}")
    if encoder.experts is not None and encoder.experts.embedding and (view.input != "feats" or view.mask is not None):
        what = "has no features for" if view.input != "feats" else "masks states, and its audio would reach"
        raise UserError(f"{where}: this view {what} the embedding network of the routers; take model.encoder.experts.embedding away")
    if not 0 <= view.start < len(encoder.blocks):
        raise UserError(f"{where}.start: the encoder has {len(encoder.blocks)} blocks; give a number from 0 to {len(encoder.blocks) - 1}")
    section = config.objectives[objective]
    if section.decode and section.type in SEARCHED and (view.causal or view.start or view.input != "feats"):
        raise UserError(f"{where}: search cannot use this view, as it encodes features from the front end on; set `decode: false`")


def _check_type(config: TrainConfig, module: str, types: Collection[str], where: str) -> None:
    """Raise UserError if a module does not exist or has none of these types."""
    sections = config.model.modules()
    check_exists(module, sections, where)
    if sections[module].type not in types:
        raise UserError(f"{where}: model.{module} has the type {sections[module].type}; name a module of the type {' or '.join(types)}")


def _vocabulary(config: TrainConfig, module: str) -> str | None:
    """The tokenizer of a module, None for a module without tokens.

    Raises UserError if no objective uses a decoder, predictor or joiner, or if the objectives that share it have different tokens.
    """
    section = config.model.modules()[module]
    if "vocab" not in MODULES[section.type].system_arguments:
        return None
    if "tokens" in section.options():
        check_exists(section.options()["tokens"], config.tokens, f"model.{module}.tokens")
        return section.options()["tokens"]
    readers = _readers(config, module)
    if joined := section.options().get("joined"):
        return _check_joined(config, module, joined)
    key = next(key for key, types in MODULE_OPTIONS.items() if section.type in types)
    if not readers:
        raise UserError(f"model.{module}: no objective has `{key}: {module}`; add this to an objective, or remove the module")
    tokens = sorted({str(options.get("tokens")) for options in readers.values()})
    if len(tokens) > 1:
        different = f"its objectives have different tokens ({', '.join(tokens)})"
        raise UserError(f"model.{module}: {different}; a {key} has one vocabulary, so give {', '.join(readers)} the same tokens")
    return tokens[0]


def _check_joined(config: TrainConfig, module: str, joined: Sequence[str]) -> None:
    """Raise UserError unless a decoder joins existing tokenizers, each once, of which its objectives use each."""
    for name in joined:
        check_exists(name, config.tokens, f"model.{module}.joined")
    if len(set(joined)) < max(2, len(joined)):
        raise UserError(f"model.{module}.joined: give two different tokenizers or more; with a single one take `joined` away")
    used = {str(options.get("tokens")): name for name, options in _readers(config, module).items()}
    for tokens, name in used.items():
        if tokens not in joined:
            raise UserError(f"objectives.{name}.tokens: model.{module} joins {', '.join(joined)}, not {tokens}; add it to `joined`")
    for tokens in joined:
        if tokens not in used:
            raise UserError(f"model.{module}.joined: no objective of this decoder writes {tokens}; take it away here")


def _predictor_dim(config: TrainConfig, joiner: str) -> int:
    """The width of the predictors beside a joiner. Raises UserError if they have different widths."""
    predictors = sorted({options["predictor"] for options in _readers(config, joiner).values()})
    widths = {name: config.model.modules()[name].options()["dim"] for name in predictors}
    if len(set(widths.values())) > 1:
        listed = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise UserError(f"model.{joiner}: its predictors have different widths ({listed}); give them the same `dim`, or two joiners")
    return next(iter(widths.values()))


def _readers(config: TrainConfig, module: str) -> dict[str, dict[str, Any]]:
    """The options of the objectives that name a module, by the names of the objectives."""
    objectives = {name: (objective.type, objective.options()) for name, objective in config.objectives.items()}
    return {name: options for name, (kind, options) in objectives.items() if module in _named(OBJECTIVES[kind], options)}


def _named(kind: type[Objective], options: dict[str, Any]) -> list[str]:
    """The modules that the options of an objective name."""
    return [options[key] for key in kind.module_options if isinstance(options.get(key), str)]
