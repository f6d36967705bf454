"""Measures how a penalty gamma changes the update of the encoder under plain gradient descent, AdamW and Muon.

Trains the demo for some steps, with losses added and CPC below. Then compares, batch by batch, the length and the direction of the updates
for several gammas with the update for gamma 0. Needs stages 0 to 2 of egs/mini (./run.sh --stop_stage tokens).
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
    """The update for a gradient: it is divided by the root of the second moments of the run so far."""
    return lambda param, gradient: gradient / (moments[param]["exp_avg_sq"].sqrt() + 1e-8)


def muon(param: Parameter, gradient: Tensor) -> Tensor:
    return orthogonalize(gradient[None], 3)[0] * max(gradient.shape) ** 0.5


def trained(kind: str, steps: int, exp: Path) -> Phase:
    """Train the demo with losses added for some steps; returns its phase."""
    overrides = ["weighting={type: static}", "penalty={start: 0.1, end: 0.1}", f"optim.type={kind}"]
    phase = CASES["mini"].phase(overrides, exp, "cpu")
    phase.total_steps, phase.optimizer.total_steps = 4 * steps, 4 * steps
    step = training_step(phase)
    for number in range(steps):
        step(phase.next_step().draws(), number)
    return phase


def gradients(phase: Phase, draws: list, number: int, matrices: list[Parameter]) -> tuple[list[Tensor], list[Tensor]]:
    """The summed gradient of the objectives of the upper level, and the gradient of CPC, of the same batch."""
    by_gamma = []
    for gamma in (0.0, 1.0):  # both with the same random numbers
        phase.joint(draws, number, [1.0, gamma])
        by_gamma.append([param.grad.clone() for param in matrices])
    return by_gamma[0], [total - above for above, total in zip(*by_gamma, strict=True)]


def compare(update: Update, matrices: list[Parameter], above: list[Tensor], below: list[Tensor]) -> dict[float, tuple[float, float, float]]:
    """By gamma: the ratio of lengths to the update of gamma 0, the cosine with that update, the cosine with the update of CPC alone."""

    def vector(gamma: float, upper: float = 1.0) -> Tensor:
        gradients = zip(matrices, above, below, strict=True)
        return torch.cat([update(param, upper * of_upper + gamma * of_cpc).flatten() for param, of_upper, of_cpc in gradients])

    zero, cpc = vector(0.0), vector(1.0, upper=0.0)
    vectors = {gamma: vector(gamma) for gamma in GAMMAS}
    return {
        gamma: (float(v.norm() / zero.norm()), float(cosine_similarity(v, zero, dim=0)), float(cosine_similarity(v, cpc, dim=0)))
        for gamma, v in vectors.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=120, help="steps of training before the comparison")
    parser.add_argument("--batches", type=int, default=10, help="batches on which updates are compared")
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
        comparisons, pulls = {name: [] for name in updates}, []
        for number, step in enumerate(islice(iter(phase.next_step, None), args.batches)):
            above, below = gradients(phase, step.draws(), args.steps + number, matrices)
            norms = [float(torch.cat([gradient.flatten() for gradient in level]).norm()) for level in (above, below)]
            pulls.append(norms[1] / norms[0])
            for name, update in updates.items():
                comparisons[name].append(compare(update, matrices, above, below))
        for name, rows in comparisons.items():
            for gamma in GAMMAS:
                length, with_zero, with_cpc = (fmean(values) for values in zip(*(row[gamma] for row in rows), strict=True))
                print(f"{name:12s} {gamma:8.2f} {length:8.2f} {with_zero:15.2f} {with_cpc:23.2f} {gamma * fmean(pulls):20.2f}", flush=True)
        phase.stop()


if __name__ == "__main__":
    main()
