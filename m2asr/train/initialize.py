"""Trained systems as a starting point: to decode with, or to train on from."""

from __future__ import annotations

from pathlib import Path

import torch

from m2asr.config import TrainConfig, check_config
from m2asr.errors import UserError
from m2asr.objectives.system import System, build_system
from m2asr.text.tokenizer import Tokenizer
from m2asr.train import checkpoint
from m2asr.train.materials import load_tokenizers


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


def initialize(system: System, path: Path) -> str:
    """Copy the weights of another run's model.pt that fit by name; returns a line that says what was and was not copied.

    Heads that the other run did not have stay as they are. Raises UserError where the shared encoder does not fit.
    """
    given = checkpoint.load(path)["model"]
    own = system.state_dict()
    taken = {key: value for key, value in given.items() if key in own and own[key].shape == value.shape}
    misfit = [key for key in own if key.startswith("encoder.") and key not in taken]
    if misfit:
        what = (
            f"has shape {tuple(given[misfit[0]].shape)} there, {tuple(own[misfit[0]].shape)} here"
            if misfit[0] in given
            else "is missing there"
        )
        raise UserError(f"--init_from {path}: {misfit[0]} {what} ({len(misfit)} parameters in all); train both with the same model.encoder")
    taken = {key: value for key, value in taken.items() if key not in ("mean", "scale")}  # normalization belongs to this run's features
    system.load_state_dict(taken, strict=False)
    heads = sorted({key.split(".")[1] for key in own if key.startswith(("objectives.", "decoders.")) and key not in taken})
    left = f"; new: {', '.join(heads)}" if heads else ""
    return f"started from {path}: {len(taken)} of {len(own)} tensors{left}"
