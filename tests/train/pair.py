"""Steps that test_distributed.py computes in one process and in two: the same halves of the data, in float64.

Run as a module under torchrun, every process saves what it found to <folder>/<rank>.pt.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from m2asr.moo.build import build_level
from m2asr.moo.collectives import Collectives
from m2asr.train.distributed import joined
from m2asr.train.step import JointStep
from m2asr.train_config import Phase, Weighting
from tests.objectives import build

WEIGHTINGS = {
    "static": {"type": "static"},
    "dwa": {"type": "dwa", "window": 1},
    "mgda": {"type": "mgda"},
    "normalized": {"type": "mgda", "normalize": "loss+"},
    "modo2": {"type": "modo"},
    "modo3": {"type": "modo", "samples": 3},
    "moco": {"type": "moco", "beta": 0.25},
    "pcgrad": {"type": "pcgrad"},
    "upgrad": {"type": "upgrad"},
    "dropout": {"type": "mgda"},
    "layers": {"type": "mgda", "layers": "conflicting"},
}
STEPS = 2


def make(kind: str, group: Collectives) -> JointStep:
    config = build.config()
    if kind == "dropout":  # the random numbers of a process are those of its micro-batch
        config.model.encoder.dropout = 0.1
    config.weighting = Weighting(**WEIGHTINGS[kind])
    streams = {name: objective.stream for name, objective in config.objectives.items()}
    levels = [build_level(level, apart=False) for level in config.levels_of(Phase(name="train"))]
    system = build.system(model=config.model.model_dump())
    return JointStep(system.train(), streams, levels, seed=1, dtype=torch.float32, group=group)


def draws(count: int, number: int, group: Collectives, case: str = "") -> list[dict]:
    """This process's batches: both halves, as micro-batches, in a single process; one of them in each of two."""
    found = []
    for place in range(count):
        halves = [build.draw(1000 * number + 100 * place + 10 * half) for half in range(2)]
        if case == "absent":  # only the second half has the stream y
            del halves[0]["y"]
        if case == "untranslated":  # only the first half has a target for st_y
            halves[1]["y"][0].target_lengths["a:text.x"].fill_(-1)
        if case == "broken":
            halves[1]["y"][0].inputs["feats"][0, 5] = float("nan")
        mine = halves if group.world == 1 else [halves[group.rank]]
        found.append({stream: [batch for half in mine for batch in half.get(stream, ())] for stream in ("x", "y", "raw")})
    return found


def step(joint: JointStep, number: int, case: str = "") -> dict:
    """One step and what came of it."""
    before = dict(getattr(joint.group, "moved", {}))
    outcome = joint(draws(joint.levels[0].weighting.draws, number, joint.group, case), number, factors=(1, 0.1), measure=True)
    joint.applied(outcome)
    rows = [*range(1, len(joint.buffers.flat))]
    return {
        "gradients": {name: param.grad.clone() for name, param in joint.system.named_parameters() if param.grad is not None},
        "moved": {key: value - before.get(key, 0) for key, value in getattr(joint.group, "moved", {}).items()},
        "gramian": joint.buffers.gramian(rows) if rows else torch.zeros(0),
        "weights": outcome.weights,
        "losses": outcome.losses,
        "metrics": outcome.metrics,
        "conflicts": outcome.conflicts and outcome.conflicts.gramian,
        "inactive": outcome.inactive,
        "frames": outcome.frames,
        "problem": outcome.problem,
        "columns": joint.buffers.flat.shape[1],
    }


def everything(group: Collectives, folder: Path) -> dict:
    """What every process finds, by kind of weighting or case."""
    found: dict = {}
    for kind in WEIGHTINGS:
        joint = make(kind, group)
        found[kind] = [step(joint, number) for number in range(STEPS)]
        if kind == "moco":
            state = joint.levels[0].state_dict()
            found["state"] = state
            found["after"] = step(joint, STEPS)
    for case in ("absent", "untranslated"):
        found[case] = [step(make(kind, group), 0, case) for kind in ("static", "mgda", "modo2")]
    joint = make("moco", group)
    found["broken"] = [step(joint, 0), step(joint, 1, "broken"), step(joint, 2)]
    if group.world > 1:  # goes on from one process
        joint = make("moco", group)
        joint.levels[0].load_state_dict(torch.load(folder / "single.pt")["state"])
        found["resumed"] = step(joint, STEPS)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined(gpu=False) as group:
        torch.save(everything(group, Path(sys.argv[1])), Path(sys.argv[1]) / f"{group.rank}.pt")
