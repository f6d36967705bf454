"""How much memory experts take, and how much a step moves, replicated in all processes or spread over them."""

from __future__ import annotations

import torch

from m2asr.errors import UserError
from m2asr.objectives.build import build_system, resolve
from m2asr.report.tables import table_head, table_row
from m2asr.train_config import TrainConfig

FLOAT, HALF = 4, 2  # bytes of a float32 and of a bfloat16 number
STATES = 25  # states of the encoder per second
READING = (
    "Memory: parameters, one gradient and moments in float32, and bfloat16 copies of the parameters; activations come on top, and are the "
    "same in both columns. Traffic: what a process sends in a step. Gradients are summed by a reduce-scatter and an all-gather; states are "
    "sent to their experts and back, and so are their gradients, in bfloat16 and on the assumption that all experts are used alike."
)


def plan_experts(config: TrainConfig, processes: int, vocab: int, feat_dim: int = 80) -> str:
    """A table of memory and traffic per process, as Markdown. Raises UserError without experts, or where they cannot be shared equally.

    `vocab` is the size of every tokenizer of characters, whose texts are not read.
    """
    config = resolve(config)
    sizes = {name: tokens.size or vocab for name, tokens in config.tokens.items()}
    with torch.device("meta"):
        system = build_system(config, sizes, feat_dim)
    experts = system.encoder.experts
    if experts is None:
        raise UserError("the encoder has no experts; add `model.encoder.experts`")
    if experts.count % processes:
        raise UserError(f"--processes: {experts.count} experts cannot be shared by {processes} processes equally; give a divisor")
    everything = sum(param.numel() for param in system.parameters())
    spread = sum(system.get_parameter(name).numel() for name in system.stacks if name.startswith("encoder."))
    active = everything - spread + spread * experts.top // experts.count
    moments = 1 if config.optim.type == "muon" else 2
    bytes_each = FLOAT * (1 + 1 + moments) + HALF
    elsewhere = 1 - 1 / processes
    states = config.batching.seconds * STATES / processes * experts.top * len(system.encoder.router_taps)
    here = everything - spread + spread / processes
    moved = 4 * HALF * states * system.encoder.dim * elsewhere
    lines = [
        f"{everything / 1e6:,.1f} M parameters, {spread / 1e6:,.1f} M of them in {experts.count} experts per layer; "
        f"{active / 1e6:,.1f} M are active in a state. {processes} processes, {config.batching.seconds:g} s of speech per step.",
        "",
        *table_head(["per process", "replicated", "spread"]),
        table_row(["parameters", f"{everything / 1e6:,.1f} M", f"{here / 1e6:,.1f} M"]),
        table_row(["memory of parameters, gradients, moments", _size(everything * bytes_each), _size(here * bytes_each)]),
        table_row(["traffic of gradients", *(_size(2 * FLOAT * count * elsewhere) for count in (everything, everything - spread))]),
        table_row(["traffic of states", _size(0), _size(moved)]),
        "",
        READING,
    ]
    return "\n".join(lines) + "\n"


def _size(count: float) -> str:
    """Bytes as a text."""
    return f"{count / 1e9:,.2f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
