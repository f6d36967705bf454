"""Trained systems as a starting point: to decode with, or to train on from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from m2asr.config import FbankConfig, check_config, load_config
from m2asr.errors import UserError
from m2asr.moo.collectives import Collectives
from m2asr.objectives.build import build_system
from m2asr.objectives.system import System
from m2asr.seeds import seed_of
from m2asr.text.tokenizer import Tokenizer
from m2asr.train import checkpoint
from m2asr.train.expert_parallel import part_of, whole_shapes
from m2asr.train.materials import load_tokenizers
from m2asr.train_config import Init, TrainConfig

NORMALIZATION = ("mean", "scale")
ADDED = ("router.", "feedback.")  # parts that an encoder has besides those of its dense base


def load_trained(exp: Path, device: str = "cpu") -> tuple[TrainConfig, System, dict[str, Tokenizer]]:
    """The system of a run with its config and tokenizers, in evaluation mode. Raises UserError where one of its files is missing."""
    path = exp / "model.pt"
    if not path.is_file():
        raise UserError(f"{path}: no trained model; run stage 4 (train) first")
    state = checkpoint.load(path, needs=("model", "config"))
    config = check_config(TrainConfig, state["config"], str(path))
    tokenizers = load_tokenizers(config, exp / "tokens")
    vocab, fbank = {name: tokenizer.size for name, tokenizer in tokenizers.items()}, trained_fbank(exp)
    mean = state["model"].get("mean")
    if mean is None or mean.dim() != 1:
        raise checkpoint.Damaged(f"{path}: damaged: model.mean is missing, or no vector; run stage 4 (train) again, or restore the file")
    system = build_system(config, vocab, len(mean), fbank.frame_shift, fbank.frame_length)
    checkpoint.load_weights(system, state["model"], path)
    return config, system.to(torch.device(device)).eval(), tokenizers


def trained_fbank(exp: Path) -> FbankConfig:
    """How the features that a run was trained on were computed, by exp/fbank.yaml. Raises UserError for runs that did not write it."""
    path = exp / "fbank.yaml"
    if not path.is_file():
        raise UserError(f"{path}: no such file, an older run did not write it; copy dump/<set>/fbank.yaml of one of its sets there")
    return load_config(FbankConfig, path)


def initialize(system: System, sources: Sequence[Init], seed: int = 0, group: Collectives | None = None) -> list[str]:
    """Copy the weights of other runs' model.pt that fit by name; returns a line for each source on what was and was not copied.

    Names are changed by the `map` of a source; of several prefixes that fit the longest counts. A weight with one dimension more here,
    such as that of experts, gets the source's value at every index of that dimension, plus the `noise` of the source, which `seed` decides.
    Modules, heads and routers that no source has stay as they are; normalization belongs to this run's features. Raises UserError where the
    encoder is not filled and no map speaks of it, where a weight of the encoder has another shape, where what is copied belongs to other
    languages than here, or to the same in another order, where nothing is copied that `noise` could change, where no weight begins with a
    prefix of a map, or where a name that a map gives does not exist or has another shape.
    """
    group = group or Collectives()
    weights = whole_shapes(system.state_dict(), system.spread_names, group)
    taken: dict[str, Tensor] = {}
    lines = []
    for source in sources:
        loaded = checkpoint.load(Path(source.path), needs=("model",))
        fitting = _fitting(weights, loaded["model"], source, seed)
        _check_languages(system, fitting, loaded.get("config"), source)
        taken |= fitting
        lines.append(f"started from {source.path}: {len(fitting)} of {len(weights)} tensors")
    missing = [key for key in weights if key.startswith("encoder.") and not any(part in key for part in ADDED) and key not in taken]
    prefixes = [prefix for source in sources for prefix in source.map]
    prefixes += [name for source in sources for target in source.map.values() for name in _targets(target)]
    if missing and not any("encoder.".startswith(prefix) or prefix.startswith("encoder.") for prefix in prefixes):
        origin = f"start from {', '.join(source.path for source in sources)}"
        raise UserError(
            f"{origin}: {missing[0]} is missing there ({len(missing)} parameters in all); train both with the same model.encoder"
        )
    system.load_state_dict(part_of(taken, system.spread_names, group), strict=False)
    if new := sorted({_owner(key) for key in weights if key not in taken and key not in NORMALIZATION}):
        lines[-1] += f"; new: {', '.join(new)}"
    return lines


def other_tokens(sources: Sequence[Init], tokens: Path) -> list[str]:
    """A warning for each tokenizer of this run, in the folder `tokens`, whose ids mean other tokens in a source.

    Where both have as many, heads of the source would be copied, and begin with the wrong tokens.
    """
    warnings = []
    for source in sources:
        for path in sorted(tokens.glob("*/tokens.txt")):
            theirs = Path(source.path).parent / "tokens" / path.parent.name / "tokens.txt"
            ids = [file.read_bytes().splitlines() for file in (path, theirs) if file.is_file()]
            if len(ids) == 2 and len(ids[0]) == len(ids[1]) and ids[0] != ids[1]:
                problem = f"its tokenizer {path.parent.name} has as many tokens as that of this run, but others"
                remedy = f"copy {theirs.parent} to {path.parent} before the training, or map the heads to null"
                warnings.append(f"warning: {source.path}: {problem}, so heads that are copied begin with the wrong ones; {remedy}")
    return warnings


def _fitting(weights: Mapping[str, Tensor], loaded: Mapping[str, Tensor], source: Init, seed: int) -> dict[str, Tensor]:
    """The loaded weights of one source under the names and in the shapes that they have here."""
    for prefix in source.map:
        if not any(key.startswith(prefix) for key in loaded):
            prefixes = sorted({".".join(key.split(".")[:2]) for key in loaded})
            raise UserError(f"{source.path}: no weight begins with `{prefix}`; there are {', '.join(prefixes)}")
    taken: dict[str, Tensor] = {}
    copied = False
    for key, value in loaded.items():
        prefix = max((name for name in source.map if key.startswith(name)), key=len, default=None)
        targets = [key] if prefix is None else [target + key[len(prefix) :] for target in _targets(source.map[prefix])]
        for target in targets:
            if target in NORMALIZATION:
                continue
            if target in weights and weights[target].shape == value.shape:
                taken[target] = value
            elif target in weights and weights[target].shape[1:] == value.shape:
                taken[target], copied = _copies(value, len(weights[target]), source.noise, seed_of(seed, target)), True
            elif prefix is not None or (target.startswith("encoder.") and target in weights):
                problem = "does not exist here"
                if target in weights:
                    problem = f"has the shape {tuple(weights[target].shape)} here and {tuple(value.shape)} there"
                if prefix is None:
                    raise UserError(f"{source.path}: {target} {problem}; train both with the same model.encoder, or map it to null")
                raise UserError(f"{source.path}: `{prefix}` is mapped to {target}, which {problem}; correct `map`")
    if source.noise and not copied:
        raise UserError(f"{source.path}: no weight of it is copied to every expert, so `noise` has nothing to do; take it away")
    return taken


def _check_languages(system: System, taken: Collection[str], config: Mapping[str, Any] | None, source: Init) -> None:
    """Raise UserError if weights are taken that belong to languages, and those of the source's encoder are others than here.

    These are the experts where the language chooses them, and routers that read the language.
    """
    experts, here = (config or {}).get("model", {}).get("encoder", {}).get("experts") or {}, system.encoder.experts
    ours, theirs = here.languages if here else [], experts.get("languages") or []
    if not ours or not theirs or ours == theirs:
        return
    by_language = system.stacks if here.router == "language" else [key for key in taken if "router." in key]
    if any(key.startswith("encoder.") and key in taken for key in by_language):
        problem = f"model.encoder.experts.languages is [{', '.join(ours)}] here and [{', '.join(theirs)}] there"
        remedy = "name the same languages in the same order, or map these weights to null"
        raise UserError(f"{source.path}: {problem}, and what belongs to each would be copied by its position; {remedy}")


def _copies(value: Tensor, count: int, noise: float, seed: int) -> Tensor:
    """A weight `count` times, in a new first dimension; matrices with independent normal noise."""
    copies = value.expand(count, *value.shape)
    if noise == 0 or value.dim() < 2:
        return copies
    generator = torch.Generator().manual_seed(seed)
    return copies + noise * value.std(correction=0) * torch.randn(copies.shape, dtype=value.dtype, generator=generator)


def _targets(target: str | list[str] | None) -> list[str]:
    return [] if target is None else [target] if isinstance(target, str) else target


def _owner(key: str) -> str:
    """What a weight belongs to: a module, or the head of an objective."""
    return ".".join(key.split(".")[: 2 if key.startswith("objectives.") else 1]).removeprefix("objectives.")
