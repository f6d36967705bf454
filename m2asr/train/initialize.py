"""Trained systems as a starting point: to decode with, or to train on from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from m2asr.config import FbankConfig, check_config, load_config
from m2asr.errors import UserError
from m2asr.objectives.system import System, build_system
from m2asr.text.tokenizer import Tokenizer
from m2asr.train import checkpoint
from m2asr.train.materials import load_tokenizers
from m2asr.train_config import TrainConfig


def load_trained(exp: Path, device: str = "cpu") -> tuple[TrainConfig, System, dict[str, Tokenizer]]:
    """The system in exp/model.pt with its config and tokenizers, in evaluation mode."""
    path = exp / "model.pt"
    if not path.is_file():
        raise UserError(f"{path}: no trained model; run stage 4 (train) first")
    state = checkpoint.load(path)
    config = check_config(TrainConfig, state["config"], str(path))
    tokenizers = load_tokenizers(config, exp / "tokens")
    feat_dim = len(state["model"]["mean"])
    system = build_system(config, {name: tokenizer.size for name, tokenizer in tokenizers.items()}, feat_dim)
    checkpoint.load_weights(system, state["model"], path)
    return config, system.to(torch.device(device)).eval(), tokenizers


def trained_fbank(exp: Path) -> FbankConfig:
    """How the features that a run was trained on were computed, by exp/fbank.yaml. Raises UserError for runs that did not write it."""
    path = exp / "fbank.yaml"
    if not path.is_file():
        raise UserError(f"{path}: no such file, an older run did not write it; copy dump/<set>/fbank.yaml of one of its sets there")
    return load_config(FbankConfig, path)


def initialize(system: System, path: Path, prefixes: Mapping[str, str | None] | None = None) -> str:
    """Copy the weights of another run's model.pt that fit by name; returns a line that says what was and was not copied.

    Heads that the other run did not have stay as they are. `prefixes` says which beginnings of names there are which here, such as
    {objectives.mlm.: objectives.asr.}, or null to leave them out; the encoder may then be left out too. Raises UserError where the
    shared encoder does not fit, or a prefix begins no name.
    """
    prefixes = prefixes or {}
    given = checkpoint.load(path)["model"]
    for prefix in prefixes:
        if not any(key.startswith(prefix) for key in given):
            parts = sorted({".".join(key.split(".")[:2]) for key in given})
            raise UserError(f"{path}: no weight begins with `{prefix}`; there are {', '.join(parts)}")
    given = dict(_renamed(given, prefixes))
    own = system.state_dict()
    taken = {key: value for key, value in given.items() if key in own and own[key].shape == value.shape}
    misfit = [key for key in own if key.startswith("encoder.") and key not in taken]
    if misfit and not any("encoder.".startswith(prefix) or prefix.startswith("encoder.") for prefix in prefixes):
        what = (
            f"has shape {tuple(given[misfit[0]].shape)} there, {tuple(own[misfit[0]].shape)} here"
            if misfit[0] in given
            else "is missing there"
        )
        raise UserError(f"start from {path}: {misfit[0]} {what} ({len(misfit)} parameters in all); train both with the same model.encoder")
    taken = {key: value for key, value in taken.items() if key not in ("mean", "scale")}  # normalization belongs to this run's features
    system.load_state_dict(taken, strict=False)
    heads = sorted({key.split(".")[1] for key in own if key.startswith(("objectives.", "decoders.")) and key not in taken})
    left = f"; new: {', '.join(heads)}" if heads else ""
    return f"started from {path}: {len(taken)} of {len(own)} tensors{left}"


def _renamed(weights: Mapping[str, Tensor], prefixes: Mapping[str, str | None]) -> Iterator[tuple[str, Tensor]]:
    """Weights under their names here; of several prefixes the longest counts."""
    for key, value in weights.items():
        prefix = max((one for one in prefixes if key.startswith(one)), key=len, default="")
        new = prefixes[prefix] if prefix else prefix
        if new is not None:
            yield new + key[len(prefix) :], value
