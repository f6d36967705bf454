"""Whether the modules, objectives and views of a config fit together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import nn

from m2asr.config import check_exists
from m2asr.errors import UserError
from m2asr.models import DECODERS, HEADS, JOINERS, MODULES, PREDICTORS, QUANTIZERS
from m2asr.objectives import OBJECTIVES
from m2asr.objectives.objective import Objective
from m2asr.objectives.view import View
from m2asr.train_checks import SEARCHED
from m2asr.train_config import TrainConfig

MODULE_OPTIONS = {  # options of objectives that name modules of these types
    "decoder": DECODERS,
    "predictor": PREDICTORS,
    "joiner": JOINERS,
    "quantizer": QUANTIZERS,
    "head": HEADS,
}


def named_by_encoder(config: TrainConfig) -> tuple[str | None, str | None]:
    """The modules that the encoder uses: the embedding network of its routers, and the head that its states are conditioned on."""
    options = config.model.encoder.options()
    experts, condition = options.get("experts") or {}, options.get("condition") or {}
    return experts.get("embedding"), condition.get("head")


def check_tied(config: TrainConfig, head: str) -> None:
    """Raise UserError if a head is tied to what is no embedding, or to one of other tokens than its objectives write."""
    embedding = config.model.modules()[head].options()["embedding"]
    check_type(config, embedding, ["embedding"], f"model.{head}.embedding")
    tokens = config.model.modules()[embedding].options()["tokens"]
    for name, options in objectives_of(config, head).items():
        if options.get("tokens", tokens) != tokens:
            raise UserError(f"objectives.{name}.tokens: model.{embedding} has the tokens {tokens}, not {options['tokens']}")


def check_trained(modules: Mapping[str, nn.Module], objectives: Mapping[str, Objective]) -> None:
    """Raise UserError if a module with parameters gives labels, but no objective trains it."""
    trained = {name for objective in objectives.values() for name in objective.runs}
    for objective, name in [(objective, name) for objective, user in objectives.items() for name in user.labelled_by]:
        if name not in trained and list(modules[name].parameters()):
            raise UserError(
                f"model.{name}: it gives labels (objectives.{objective}), and no objective trains it; a quantizer learns in an objective "
                "of the type contrastive, a head in one of the type ctc; a projection_quantizer needs no training"
            )


def check_used(modules: Mapping[str, nn.Module], objectives: Mapping[str, Objective], by_encoder: Sequence[str | None]) -> None:
    """Raise UserError if neither an objective nor the encoder uses a module."""
    used = {"encoder", *by_encoder}
    for objective in objectives.values():
        used.update(objective.runs, objective.labelled_by)
        used.update(name for view in objective.views for name in (view.embed, view.mask and view.mask.vector))
    for name in modules:
        if name not in used:
            raise UserError(f"model.{name}: no objective uses this module; name it in an objective, or remove it from the config")


def check_reads(config: TrainConfig, name: str, objective: Objective, encoder: nn.Module, networks: Mapping[str, nn.Module]) -> None:
    """Raise UserError if an objective reads views or taps that do not exist, or languages that routers have told its states."""
    options = config.objectives[name].options()
    if config.objectives[name].type == "langid" and config.model.router_languages():
        raise UserError(
            f"objectives.{name}: its states would know the language, which routers read; take model.encoder.experts.languages away"
        )
    for view, tap in objective.reads:
        _check_view(config, name, view, encoder)
        skipped = {f"{kind}{number}" for number in range(1, view.start + 1) for kind in ("block", "router")}
        if "tap" in options:  # a single tap with states, for a head
            skipped.update(encoder.router_taps)
        readable = [encoder_tap for encoder_tap in encoder.taps if encoder_tap not in skipped] + list(networks)
        check_exists(tap, readable, f"objectives.{name}.tap")
    _check_width(name, options.get("tap"), networks.get(options.get("tap"), encoder).dim, encoder.dim, objective)


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
            check_type(config, name, [kind], f"{where}.{key}")
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


def check_type(config: TrainConfig, module: str, types: Collection[str], where: str) -> None:
    """Raise UserError if a module does not exist or has none of these types."""
    sections = config.model.modules()
    check_exists(module, sections, where)
    if sections[module].type not in types:
        raise UserError(f"{where}: model.{module} has the type {sections[module].type}; name a module of the type {' or '.join(types)}")


def vocabulary(config: TrainConfig, module: str) -> str | None:
    """The tokenizer of a module, None for a module without tokens.

    Raises UserError if no objective uses a decoder, predictor or joiner, or if the objectives that share it have different tokens.
    """
    section = config.model.modules()[module]
    if "vocab" not in MODULES[section.type].system_arguments:
        return None
    if "tokens" in section.options():
        check_exists(section.options()["tokens"], config.tokens, f"model.{module}.tokens")
        return section.options()["tokens"]
    readers = objectives_of(config, module)
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
    used = {str(options.get("tokens")): name for name, options in objectives_of(config, module).items()}
    for tokens, name in used.items():
        if tokens not in joined:
            raise UserError(f"objectives.{name}.tokens: model.{module} joins {', '.join(joined)}, not {tokens}; add it to `joined`")
    for tokens in joined:
        if tokens not in used:
            raise UserError(f"model.{module}.joined: no objective of this decoder writes {tokens}; take it away here")


def predictor_dim(config: TrainConfig, joiner: str) -> int:
    """The width of the predictors beside a joiner. Raises UserError if they have different widths."""
    predictors = sorted({options["predictor"] for options in objectives_of(config, joiner).values()})
    widths = {name: config.model.modules()[name].options()["dim"] for name in predictors}
    if len(set(widths.values())) > 1:
        listed = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise UserError(f"model.{joiner}: its predictors have different widths ({listed}); give them the same `dim`, or two joiners")
    return next(iter(widths.values()))


def objectives_of(config: TrainConfig, module: str) -> dict[str, dict[str, Any]]:
    """The options of the objectives that name a module, by the names of the objectives."""
    objectives = {name: (objective.type, objective.options()) for name, objective in config.objectives.items()}
    return {name: options for name, (kind, options) in objectives.items() if module in _named(OBJECTIVES[kind], options)}


def _named(kind: type[Objective], options: dict[str, Any]) -> list[str]:
    """The modules that the options of an objective name."""
    return [options[key] for key in kind.module_options if isinstance(options.get(key), str)]
