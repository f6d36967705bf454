"""Steps that test_distributed.py computes in one process and in two: the same halves of the data, in float64.

Run as a module under torchrun with a folder and the kind of group, every process saves what it found to <folder>/<rank>.pt.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from m2asr.data.batch import Batch, pad
from m2asr.models.experts import ExpertFeedForward, Router
from m2asr.moo.build import build_level
from m2asr.moo.collectives import Collectives
from m2asr.moo.feature_level import FeatureLevel
from m2asr.moo.gramian import Products, all_pairs
from m2asr.moo.plan import MERGED
from m2asr.train import distributed
from m2asr.train.distributed import joined
from m2asr.train.expert_parallel import spread_experts, spread_layer, whole
from m2asr.train.optim import Optimizer, clip_groups
from m2asr.train.step import JointStep
from m2asr.train_config import Optim, Phase, Weighting
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
    "features": {"type": "mgda", "gradients": "features"},
    "layers": {"type": "mgda", "layers": "conflicting"},
    "quantizers": {"type": "mgda"},
    "experts": {"type": "modo"},
    "spread": {"type": "static"},  # every process has half of the experts
    "outside": {"type": "static"},  # the same, with an encoder outside theta
    "teacher": {"type": "static"},  # a mean of the network teaches it
}
QUANTIZER = {"type": "gumbel_quantizer", "groups": 2, "entries": 6, "width": 8, "decay": 0.9}  # in the second step at another temperature
MASKED = {"stream": "raw", "level": "lower", "quantizer": "codes", "view": {"mask": {"probability": 0.2, "length": 3}}}
MASKED_OBJECTIVES = {"contrastive": {"type": "contrastive", "diversity": 0.3, **MASKED}, "mlm": {"type": "masked_lm", **MASKED}}
TAUGHT = {
    "pp": {"type": "ctc", "stream": "y", "tokens": "b", "head": "phone_head", "decode": False},
    "msp": {"type": "self_distillation", "stream": "raw", "head": "phone_head", "level": "lower", "view": MASKED["view"],
            "teacher": "ema", "decay": 0.5},
}  # fmt: skip
PHONES = {"phones": {"type": "embedding", "tokens": "b"}, "phone_head": {"type": "tied_head", "embedding": "phones"}}
EXPERTS = {"count": 4, "top": 2, "embedding": "sounds", "mean": True}
REGULAR = {
    "balance": {"type": "balance", "stream": "x", "role": "regular", "weight": 0.5, "switch": 0.1, "z": 0.01},
    "sounds_ctc": {"type": "ctc", "stream": "x", "tokens": "a", "tap": "sounds", "role": "regular", "weight": 0.1, "decode": False},
}
SPREAD = ("spread", "outside")
STEPS = 2
TURNS = [0, 8, 2]  # the numbers of steps; the second has the turn of the stream y


def make(kind: str, group: Collectives) -> JointStep:
    config = build.config()
    config.model.encoder.blocks = 2 if kind == "layers" else 1  # more of them would do the same once more
    if kind == "dropout":  # the random numbers of a process are those of its micro-batch
        config.model.encoder.dropout = 0.1
    if kind == "quantizers":
        kept = {name: section.model_dump() for name, section in config.objectives.items() if name != "cpc"}
        config = build.config(model={**config.model.model_dump(), "codes": QUANTIZER}, objectives={**kept, **MASKED_OBJECTIVES})
    if kind in ("experts", *SPREAD):
        model = config.model.model_dump()
        network, model["encoder"] = model["encoder"], {**model["encoder"], "experts": EXPERTS}
        kept = {name: section.model_dump() for name, section in config.objectives.items()}
        config = build.config(model={**model, "sounds": network}, objectives={**kept, **REGULAR})
    if kind == "teacher":
        kept = {name: section.model_dump() for name, section in config.objectives.items()}
        config = build.config(model={**config.model.model_dump(), **PHONES}, objectives={**kept, **TAUGHT})
    config.weighting = Weighting(**WEIGHTINGS[kind])
    streams = {name: objective.stream for name, objective in config.objectives.items()}
    objectives = {name: section.model_dump() for name, section in config.objectives.items()}
    system = build.system(model=config.model.model_dump(), objectives=objectives)
    reads = {name: (stream, *system.objectives[name].reads) for name, stream in streams.items()}
    if kind in SPREAD and group.world > 1:
        spread_experts(system, group)
    phase = Phase(name="train")
    levels = [build_level(level, apart=False, reads=reads, group=group) for level in config.levels_of(phase)]
    over = ("sounds",) if kind == "outside" else ("encoder",)
    return JointStep(system.train(), streams, levels, torch.float32, config.regular(phase), over, group)


def draws(joint: JointStep, number: int, case: str = "") -> list[dict]:
    """This process's batches: both halves, as micro-batches, in a single process; one of them in each of two.

    Weights from states need the whole batch of a stream at once: there a single process has the halves as one.
    """
    found, group, level = [], joint.group, joint.levels[0]
    for place in range(level.weighting.draws):
        halves = [build.draw(1000 * number + 100 * place + 10 * half) for half in range(2)]
        if case == "absent":  # only the second half has the stream y
            del halves[0]["y"]
        if case == "untranslated":  # only the first half has a target for st_y
            halves[1]["y"][0].target_lengths["a:text.x"].fill_(-1)
        if case == "unheard":  # only the first half has a target for asr_y; the second has those of st_y, which comes after it
            halves[1]["y"][0].target_lengths["b:text"].fill_(-1)
            halves[1]["y"][0].target_lengths["a:text.x"].fill_(3)
        if case == "nothing":
            halves = [{}, {}]
        if case == "broken":
            halves[1]["y"][0].inputs["feats"][0, 5] = float("nan")
        mine = halves if group.world == 1 else [halves[group.rank]]
        batches = {stream: [batch for half in mine for batch in half.get(stream, ())] for stream in ("x", "y", "raw")}
        if isinstance(level, FeatureLevel):
            batches |= {stream: [join(batches[stream])] for stream in ("x", "y") if batches[stream]}
        found.append(batches)
    return found


def join(batches: list[Batch]) -> Batch:
    """One batch of several."""
    one = batches[0]
    return replace(
        one,
        inputs={key: pad([row.numpy() for batch in batches for row in batch.inputs[key]]) for key in one.inputs},
        targets={key: pad([row.numpy() for batch in batches for row in batch.targets[key]]) for key in one.targets},
        lengths={key: torch.cat([batch.lengths[key] for batch in batches]) for key in one.lengths},
        target_lengths={key: torch.cat([batch.target_lengths[key] for batch in batches]) for key in one.target_lengths},
        **{key: [value for batch in batches for value in getattr(batch, key)] for key in ("lang", "speakers", "utt_ids")},
    )


def step(joint: JointStep, number: int, case: str = "") -> dict:
    """One step and what came of it."""
    before = dict(getattr(joint.group, "moved", {}))
    # what measuring moves is not counted, so the first step is not measured
    outcome = joint(draws(joint, number, case), TURNS[number], factors=(1, 0.1), measure=number > 0)
    joint.applied(outcome)
    rows = sorted((row for row in joint.rows._held if row != MERGED), key=str)
    gradients = {name: param.grad.clone() for name, param in joint.system.named_parameters() if param.grad is not None}
    return {
        "gradients": whole(gradients, joint.system.spread_names, joint.group),
        "moved": {key: value - before.get(key, 0) for key, value in getattr(joint.group, "moved", {}).items()},
        "gramian": gramian(joint, rows) if rows else torch.zeros(0),
        "weights": outcome.weights,
        "losses": outcome.losses,
        "metrics": {
            name: {key: [*np.ravel(total).tolist(), weight] for key, (total, weight) in metrics.items()}
            for name, metrics in outcome.metrics.items()
        },
        "conflicts": outcome.conflicts and outcome.conflicts.gramian,
        "cross": outcome.conflicts and torch.stack(list(outcome.conflicts.cross.values())),
        "inactive": outcome.inactive,
        "seconds": outcome.seconds,
        "idle": outcome.idle,
        "problem": outcome.problem,
        "columns": joint.rows.layout.columns,
    }


def gramian(joint: JointStep, rows: list) -> torch.Tensor:
    """Inner products of the rows that a step has left, over all processes."""
    pairs = all_pairs(rows)
    return Products(pairs, joint.group.all_reduce(joint.rows.inner_products(pairs))).matrix(rows)[0]


def weights_after(kind: str, group: Collectives) -> dict[str, torch.Tensor]:
    """The model's weights after three steps with Muon, those of teachers too."""
    joint = make(kind, group)
    system = joint.system
    config, groups = Optim(type="muon", warmup_steps=1), system.groups(["encoder"])
    optimizer = Optimizer(config, groups, total_steps=3, stacks=system.stacks, group=group, spread=system.spread_parameters)
    for number in range(3):
        outcome = joint(draws(joint, number), number, factors=(1, 0.1))
        clip_groups(system.module_parameters(), 0.1, system.spread_parameters, group)
        optimizer.step(number)
        joint.applied(outcome)
    return whole({name: value.clone() for name, value in system.state_dict().items()}, system.spread_names, group)


def mixed_types(group: Collectives) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums over processes of numbers of two types and odd lengths that are on their way at the same time; both processes give the same."""
    param, row = torch.nn.Parameter(torch.zeros(3)), torch.arange(4, dtype=torch.float64)
    param.grad = torch.tensor([1.0, 2.0, 3.0])
    group.sum_gradients([param])
    group.reduce_scatter(row)
    group.wait()
    return param.grad, row[group.part(4)].clone()


def with_zeros(group: Collectives) -> list[torch.Tensor]:
    """This process's parts of sums of three rows that are on their way at the same time: of both processes, of the last one, of none."""
    first = torch.arange(4.0) + group.rank
    rows = [first, first * (group.rank == group.world - 1), torch.zeros(4)]
    for row in rows:
        group.reduce_scatter(row, empty=not row.any())
    group.wait()
    return [row[group.part(4)].clone() for row in rows]


def volume(group: Collectives) -> tuple[int, int]:
    """What a layer of experts that are spread moves, forward and backward, and what it should, both summed over processes.

    A state goes to the process of its expert and comes back, and so does its gradient; and all tell each other their numbers of states.
    """
    dim, count = 16, 4
    torch.manual_seed(0)
    layer = ExpertFeedForward(dim, 8, 0.0, count, router=Router(dim, count))
    spread_layer(layer, group)
    x = torch.randn(3, 7, dim, generator=torch.Generator().manual_seed(group.rank))
    before = group.moved["all_to_all"] if group.world > 1 else 0
    output, logits = layer(x.requires_grad_())
    output.sum().backward()
    moved = group.moved["all_to_all"] - before if group.world > 1 else 0
    share = count // group.world
    elsewhere = int((logits.argmax(-1) // share != group.rank).sum())
    expected = 4 * dim * elsewhere + share * (group.world - 1)
    return tuple(group.all_reduce(torch.tensor([moved, expected])).tolist())


def everything(group: Collectives, folder: Path) -> dict:
    """What every process finds, by kind of weighting or case."""
    found: dict = {"local": group.local, "group": type(group).__name__, "mixed": mixed_types(group), "zeros": with_zeros(group)}
    found["volume"] = volume(group)
    for kind in WEIGHTINGS:
        joint = make(kind, group)
        found[kind] = [step(joint, number) for number in range(STEPS)]
        if kind == "moco":
            state = joint.levels[0].state_dict(joint.rows)
            found["state"] = state
            found["after"] = step(joint, STEPS)
    found["muon"] = {kind: weights_after(kind, group) for kind in ("static", "modo2", "spread", "teacher")}
    found["nothing"] = [step(make(kind, group), 0, "nothing") for kind in ("static", "mgda", "modo2", "features")]
    for case in ("absent", "untranslated", "unheard"):
        found[case] = [step(make(kind, group), 0, case) for kind in ("static", "mgda", "modo2", "features", "spread")]
    joint = make("moco", group)
    found["broken"] = [step(joint, 0), step(joint, 1, "broken"), step(joint, 2)]
    if group.world > 1:  # goes on from one process
        joint = make("moco", group)
        joint.levels[0].load_state_dict(torch.load(folder / "single.pt")["state"], joint.rows)
        found["resumed"] = step(joint, STEPS)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[2] == "ProcessGroup":  # as where there is no memory to share, or several machines
        distributed.usable = lambda: False
    with joined(gpu=False) as group:
        torch.save(everything(group, Path(sys.argv[1])), Path(sys.argv[1]) / f"{group.rank}.pt")
