"""Configs of the recipes with a model and a run so small that all stages of a recipe take seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from m2asr.yaml_file import read_yaml

ENCODER = {"type": "conformer", "blocks": 1, "dim": 16, "heads": 2, "kernel": 3, "ff_mult": 1, "subsampling": "dwconv"}
DECODER = {"type": "transformer", "blocks": 1, "dim": 16, "heads": 2, "ff_mult": 1}
SHARED = {  # modules that objectives name
    "conformer": ENCODER,
    "transformer": DECODER,
    "lstm_predictor": {"layers": 1, "dim": 8},
    "joiner": {"dim": 8},
    "gumbel_quantizer": {"groups": 1, "entries": 8, "width": 8},
}
TRAIN = {"epochs": 1, "precision": "float32", "average_best": 1, "log_every": 1, "workers": 0}


def write_tiny(conf: Path, name: str, **train: Any) -> str:
    """Write conf/tiny_<name>.yaml beside conf/<name>.yaml: the same streams, objectives, levels and phases; returns the option's value."""
    config = read_yaml(conf / f"{name}.yaml")
    experts = {key: value for key, value in config["model"]["encoder"].items() if key == "experts"}
    config["model"]["encoder"] = ENCODER | experts
    for decoder in config["model"].get("decoders", {}):
        config["model"]["decoders"][decoder] = DECODER
    for module in config["model"].values():
        if isinstance(module, dict) and module.get("type") in SHARED:
            module |= SHARED[module["type"]]
    for tokens in config.get("tokens", {}).values():  # a small corpus has too few texts for many units
        tokens["type"] = "char"
        tokens.pop("size", None)
    for objective in config["objectives"].values():
        if objective["type"] == "cpc":
            objective |= {"context": 0.3, "future": 0.2}
        if "tap" in objective and objective["tap"] not in config["model"]:
            objective["tap"] = "output"
    config["train"].pop("hours", None)
    config["train"] |= TRAIN | train
    for phase in config.get("phases", []):
        phase["epochs"] = 1
        phase.pop("share", None)
        config["train"].pop("epochs", None)
        if "optim" in phase:
            phase["optim"]["warmup_steps"] = 1
    config["optim"]["warmup_steps"] = 1
    config["batching"] |= {"seconds": 60, "buckets": 1}
    (conf / f"tiny_{name}.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return f"conf/tiny_{name}.yaml"
