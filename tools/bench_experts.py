"""Times the feed-forward networks of a mixture of experts, forward and backward, beside one dense network of the same size on as many rows.

Every row has one expert, drawn anew for every step, so that the numbers of rows change as they do in training. `grouped_mm` is the same
with torch's grouped product and autograd. All sides take turns; a ratio is that of the medians. Gradients start from None, and freed
memory is kept as in training. `fresh` is the time, over that of the dense network, to write new memory of the size of the weights'
gradients: where they are too large to be kept, every step gets them from the system anew, page by page. Memory is what tensors hold after
the forward pass, and at most in both passes without the weights' gradients, each over that of the dense network.

python tools/bench_experts.py
python tools/bench_experts.py --rounds 5 --cpu-time
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from bench_model import alternate
from m2asr.models.grouped import by_grouped_mm, grouped_feed_forward
from m2asr.models.layers import Dropout
from m2asr.train.memory import keep_freed_memory
from m2asr.train.precision import autocast, choose
from steps import held_bytes

ROWS = 2000  # 8 utterances of 250 states
MEMORY = 1.2  # most of the dense network's

Layer = Callable[..., Tensor]


@dataclass(frozen=True)
class Case:
    """Sizes of a layer, and the most time over that of the dense network in each number type."""

    dim: int
    hidden: int
    experts: int
    bars: dict[torch.dtype, float]


CASES = [
    Case(512, 2048, 32, {torch.float32: 1.5, torch.bfloat16: 1.3}),
    Case(512, 2048, 8, {torch.float32: 1.15, torch.bfloat16: 1.15}),
    Case(160, 320, 8, {torch.float32: 1.4, torch.bfloat16: 1.4}),
]


class Side:
    """A layer with weights and rows (N, D) of its own."""

    def __init__(self, layer: Layer, case: Case, dtype: torch.dtype) -> None:
        self.layer, self.experts, self.dtype, self.dropout = layer, case.experts, dtype, Dropout(0.1)
        generator = torch.Generator().manual_seed(0)
        shapes = [(case.hidden, case.dim), (case.hidden,), (case.dim, case.hidden), (case.dim,)]
        self.weights = [
            (torch.randn(case.experts, *shape, generator=generator) / shape[-1] ** 0.5).to(dtype).requires_grad_() for shape in shapes
        ]
        if layer is dense:
            self.weights = [weight[0].detach().clone().requires_grad_() for weight in self.weights]
        self.rows = torch.randn(ROWS, case.dim, generator=generator).to(dtype).requires_grad_()

    def forward(self) -> Tensor:
        with autocast(self.rows.device, self.dtype):
            return self.layer(self.rows, torch.randint(self.experts, (ROWS,)), *self.weights, self.dropout)

    def __call__(self) -> None:
        """Forward and backward."""
        output = self.forward()
        output.backward(torch.ones_like(output))
        for leaf in (self.rows, *self.weights):
            leaf.grad = None

    def memory(self) -> tuple[int, int]:
        """Bytes of tensors that the forward pass leaves, and the most in both passes, without the weights' gradients."""
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
            output = self.forward()
        kept = held_bytes(profiler, torch.autograd.DeviceType.CPU)[1][-1]
        del output
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
            self()
        return int(kept), int(held_bytes(profiler, torch.autograd.DeviceType.CPU)[1].max()) - sum(weight.nbytes for weight in self.weights)


def dense(x: Tensor, _: Tensor, wide: Tensor, wide_bias: Tensor, narrow: Tensor, narrow_bias: Tensor, dropout: Dropout) -> Tensor:
    """One network for all rows."""
    return F.linear(dropout(F.silu(F.linear(x, wide, wide_bias))), narrow, narrow_bias)


def compare(case: Case, dtype: torch.dtype, rounds: int, clock: Callable[[], float]) -> None:
    """Print the line of a case."""
    torch.manual_seed(0)
    sides = {"dense": Side(dense, case, dtype), "grouped": Side(grouped_feed_forward, case, dtype)}
    others = {"grouped_mm": Side(by_grouped_mm, case, dtype), "fresh": lambda: write_fresh(sides["grouped"].weights)}
    times = {name: statistics.median(values) for name, values in alternate(sides | others, rounds, clock).items()}
    share, others_share, fresh = (times[name] / times["dense"] for name in ("grouped", "grouped_mm", "fresh"))
    kept, peak = (ours / base for ours, base in zip(sides["grouped"].memory(), sides["dense"].memory(), strict=True))
    print(f"  {case.dim:4d} {case.hidden:6d} {case.experts:7d}  {str(dtype).removeprefix('torch.'):8s} {times['dense']:6.1f} ms", end="")
    print(f"  {share:5.2f}{_verdict(share, case.bars[dtype])}  {others_share:10.2f}  {fresh:5.2f}", end="")
    print(f"  {kept:5.2f}{_verdict(kept, MEMORY)}  {peak:5.2f}{_verdict(peak, MEMORY)}", flush=True)


def write_fresh(weights: list[Tensor]) -> None:
    """Write new memory of the size of the weights."""
    for copy in [torch.empty_like(weight) for weight in weights]:
        copy.zero_()


def _verdict(value: float, bar: float) -> str:
    return f" (at most {bar:.2f}: {'met' if value <= bar else 'MISSED'})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="timed steps of each side")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpu-time", action="store_true", help="the processor time of all threads, for a machine with other load")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    dtypes = [torch.float32, torch.bfloat16]
    print(f"{ROWS} rows, {args.threads} threads; times and memory over those of the dense network")
    if choose("auto", torch.device("cpu")) != torch.bfloat16:
        print("  bfloat16: skipped, this CPU does not multiply it in hardware")
        dtypes.pop()
    print(f"   dim hidden experts  type         dense  {'grouped':28s}  grouped_mm  fresh  {'memory kept':28s}  memory at most")
    for case in CASES:
        for dtype in dtypes:
            compare(case, dtype, args.rounds, time.process_time if args.cpu_time else time.perf_counter)


if __name__ == "__main__":
    main()
