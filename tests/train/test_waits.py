"""How often a step reads a value of the device on the host, which stops an accelerator: counted on the CPU, by what torch dispatches."""

from __future__ import annotations

import traceback
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import m2asr.moo
from m2asr.train.optim import Optimizer, clip_groups
from m2asr.train.tally import Tally
from m2asr.train_config import Optim
from tests.objectives import build
from tests.train.test_feature_level import joint

READS = ("_local_scalar_dense", "nonzero")  # a number, and a shape that depends on numbers
SOLVERS = Path(m2asr.moo.__file__).parent  # they compute on the host, with numbers that were read by then
KINDS = [{"type": kind} for kind in ("static", "mgda", "modo", "moco")]
KINDS += [{"type": "modo", "samples": 3}, {"type": "mgda", "gradients": "features"}]


class Reads(TorchDispatchMode):
    """Counts the operators that give the host numbers of a tensor, but for those of solvers, by the place in the code."""

    def __init__(self) -> None:
        super().__init__()
        self.places: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(name in str(func) for name in READS):
            frames = [frame for frame in traceback.extract_stack() if "m2asr" in frame.filename]
            if Path(frames[-1].filename).parent != SOLVERS:
                self.places[f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize(
    "weighting",
    KINDS,
    ids=lambda options: "".join(map(str, options.values())),
)
def test_a_step_waits_at_most_five_times(weighting, optimizer, monkeypatch):
    system = build.system(torch.float32)
    step = joint(system, weighting)
    optim = Optimizer(Optim(type=optimizer, warmup_steps=1), system.groups(["encoder"]), total_steps=10)
    read, reads = Tally.read, []
    monkeypatch.setattr(Tally, "read", lambda tally, also: reads.append(also) or read(tally, also))
    draws = [[build.draw(10 * (number + index), torch.float32) for index in range(step.levels[0].draws)] for number in range(2)]
    for number in range(2):  # the first step of an optimizer makes its moments
        reads.clear()
        with Reads() as counted:
            step(draws[number], number, factors=(1, 0.1))
            clip_groups(system.module_parameters(), 5.0)
            optim.step(number)
    clipping, tracking = 1, int(weighting["type"] == "moco")  # which read a whole tensor each, as the tally does
    states = sum(len(group) > 1 for group in step.levels[0].groups) if "gradients" in weighting else 0
    assert sum(counted.places.values()) + len(reads) + clipping + tracking + states <= 5, counted.places
