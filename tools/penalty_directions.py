"""Measures what a penalty gamma does to the update of the encoder under plain gradient descent, AdamW and Muon.

A demo with losses added and CPC below is trained for some steps. Then, batch by batch, the updates for several gammas are compared with the
update of gamma 0: how long they are, and where they point. Needs stages 0 to 2 of egs/mini (./run.sh --stop_stage tokens).
  python tools/penalty_directions.py
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import cosine_similarity

from m2asr.train.cpu import prepare_cpu
from m2asr.train.muon import orthogonalize
from m2asr.train.phase import Phase
from steps import CASES, training_step

GAMMAS = (0.05, 0.2, 0.5, 1.0, 2.0)
Update = Callable[[Parameter, Tensor], Tensor]


def descent(param: Parameter, gradient: Tensor) -> Tensor:
    return gradient


def adamw(moments: Mapping[Parameter, Mapping[str, Tensor]]) -> Update:
    """One gradient over the root of the second moments of the run so far."""
    return lambda param, gradient: gradient / (moments[param]["exp_avg_sq"].sqrt() + 1e-8)


def muon(param: Parameter, gradient: Tensor) -> Tensor:
    return orthogonalize(gradient[None], 3)[0] * max(gradient.shape) ** 0.5


def trained(kind: str, steps: int, exp: Path) -> Phase:
    """The demo's phase with losses added, after some steps."""
    overrides = ["weighting={type: static}", "penalty={start: 0.1, end: 0.1}", f"optim.type={kind}"]
    phase = CASES["mini"].phase(overrides, exp, "cpu")
    phase.total_steps, phase.optimizer.total_steps = 4 * steps, 4 * steps
    step = training_step(phase)
    for number in range(steps):
        step(phase.next_step().draws(), number)
    return phase


def gradients(phase: Phase, draws: list, number: int, matrices: list[Parameter]) -> tuple[list[Tensor], list[Tensor]]:
    """The summed gradient of the objectives above, and that of CPC, of one batch."""
    found = []
    for gamma in (0.0, 1.0):  # the same random numbers in both
        phase.joint(draws, number, [1.0, gamma])
        found.append([param.grad.clone() for param in matrices])
    return found[0], [both - above for above, both in zip(*found, strict=True)]


def compare(
    update: Update, matrices: list[Parameter], above: list[Tensor], below: list[Tensor]
) -> dict[float, tuple[float, float, float]]:
    """By gamma: length over that of gamma 0, cosine with the update of gamma 0, cosine with that of CPC alone."""

    def whole(gamma: float, upper: float = 1.0) -> Tensor:
        pairs = zip(matrices, above, below, strict=True)
        return torch.cat([update(param, upper * one + gamma * other).flatten() for param, one, other in pairs])

    alone, cpc = whole(0.0), whole(1.0, upper=0.0)
    updates = {gamma: whole(gamma) for gamma in GAMMAS}
    return {
        gamma: (float(one.norm() / alone.norm()), float(cosine_similarity(one, alone, dim=0)), float(cosine_similarity(one, cpc, dim=0)))
        for gamma, one in updates.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=120, help="of training before the comparison")
    parser.add_argument("--batches", type=int, default=10, help="that are compared")
    parser.add_argument("--recipe", type=Path, default=Path("egs/mini"))
    parser.add_argument("--exp", type=Path, default=Path("exp/train_m2asr"), help="run whose tokens/ are used, inside the recipe")
    args = parser.parse_args()
    prepare_cpu(1)
    os.chdir(args.recipe)
    print("update          gamma   length   cosine with gamma 0   cosine with CPC alone   pull in gradients")
    for kind in ("adamw", "muon"):
        phase = trained(kind, args.steps, args.exp)
        matrices = [param for param in phase.system.encoder.parameters() if param.dim() == 2]
        updates: dict[str, Update] = {"muon": muon}
        if kind == "adamw":
            updates = {"descent": descent, "adamw": adamw(phase.optimizer.optimizers[0].state)}
        seen, pulls = {name: [] for name in updates}, []
        for number, step in enumerate(islice(iter(phase.next_step, None), args.batches)):
            above, below = gradients(phase, step.draws(), args.steps + number, matrices)
            norms = [float(torch.cat([part.flatten() for part in parts]).norm()) for parts in (above, below)]
            pulls.append(norms[1] / norms[0])
            for name, update in updates.items():
                seen[name].append(compare(update, matrices, above, below))
        for name, found in seen.items():
            for gamma in GAMMAS:
                length, with_zero, with_cpc = (fmean(values) for values in zip(*(one[gamma] for one in found), strict=True))
                print(f"{name:12s} {gamma:8.2f} {length:8.2f} {with_zero:15.2f} {with_cpc:23.2f} {gamma * fmean(pulls):20.2f}", flush=True)
        phase.stop()


if __name__ == "__main__":
    main()
