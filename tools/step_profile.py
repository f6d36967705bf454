"""Profiles a training step: the time of each kind of work, and how it compares with the time of the matrix multiplications alone."""

from __future__ import annotations

import contextlib
import resource
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from unittest import mock

import torch
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.flop_counter import FlopCounterMode

from m2asr.models.layers import Dropout
from m2asr.moo.rows import GradientRows
from m2asr.train import optim
from m2asr.train.passes import Draw
from steps import Step

# Every operation that is called within one of these functions counts for the function.
WITHIN = {
    "attention: scores, softmax, mixing, rotation": ("_AttendToSelf", "_AttendToSelfBackward", "_RotaryHeads", "_RotaryHeadsBackward"),
    "depthwise convolutions": ("_Depthwise", "_DepthwiseBackward"),
    "dropout and random numbers": ("step: dropout",),
    "gradients: storing, comparing, merging": ("step: gradients",),
    "clipping and optimizer": ("step: clipping", "Optimizer.step#"),
}
# fmt: off
ELEMENTWISE = (
    "native_layer_norm", "native_layer_norm_backward", "silu", "silu_backward", "sigmoid", "sigmoid_", "glu", "glu_backward",
    "relu", "relu_", "threshold_backward", "clamp_min", "clamp_min_", "mul", "mul_", "add", "add_", "sub", "sub_", "div",
    "div_", "addcmul", "addcmul_", "neg", "sum", "mean", "exp", "linalg_vector_norm", "_softmax", "_softmax_backward_data",
    "masked_fill", "masked_fill_", "where",
)
# fmt: on
# All other operations count by their name.
NAMED = {
    "multiplications of linear layers": ("mm", "addmm", "bmm", "baddbmm"),
    "convolutions of the front end": ("mkldnn_convolution", "convolution_backward", "convolution_overrideable", "slow_conv2d_forward"),
    "norms and elementwise": ELEMENTWISE,
    "dropout and random numbers": ("random_", "uniform_", "rand", "bernoulli_", "native_dropout"),
    "CTC": ("_ctc_loss", "_ctc_loss_backward", "_log_softmax", "_log_softmax_backward_data"),
    "casts and copies": ("copy_", "cat", "fill_", "zero_", "index", "index_put_", "_index_put_impl_", "index_select", "roll"),
}
REST = "the rest: Python, dispatch, autograd"
MULTIPLICATIONS = {torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.bmm, torch.ops.aten.baddbmm}


@dataclass
class StepProfile:
    """The mean cost of a step. Times are CPU seconds of all threads.

    Attributes:
        cpu: time of a step when all kernels are prepared.
        new: additional time where shapes are new, so that kernels are prepared for them.
        faults: page faults: pages of memory that the system provides.
        flops: floating-point operations of matrix multiplications.
        peak: FLOP per second that a large multiplication reaches.
        kinds: seconds per kind of work.
    """

    cpu: float = 0.0
    new: float = 0.0
    faults: float = 0.0
    flops: float = 0.0
    peak: float = 0.0
    kinds: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        rows = sorted(self.kinds.items(), key=lambda row: (row[0] == REST, -row[1]))
        lines = [f"{name:<46}{1000 * seconds:8.1f} ms {seconds / self.cpu:7.1%}" for name, seconds in rows]
        speed = self.flops / self.cpu
        return "\n".join(
            [
                *lines,
                f"{'together, CPU time of a step':<46}{1000 * self.cpu:8.1f} ms {1:7.1%}",
                f"where its shapes are new, preparing kernels costs {1000 * self.new:.1f} ms more; {self.faults:.0f} page faults",
                f"multiplications: {self.flops / 1e9:.1f} GFLOP in {1000 * self.cpu:.1f} ms are {speed / 1e9:.0f} GFLOP/s; a large "
                f"multiplication reaches {self.peak / 1e9:.0f}, so a step takes {self.peak / speed:.1f} times as long as its "
                "multiplications alone",
            ]
        )


def profile_step(run: Step, batches: Sequence[Sequence[Draw]], dtype: torch.dtype) -> StepProfile:
    """Profile the steps of these batches; each is run five times."""
    first = _seconds(run, batches)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    cpu = min(_seconds(run, batches), _seconds(run, batches)) / len(batches)
    result = StepProfile(cpu, first / len(batches) - cpu)
    result.faults = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults) / (2 * len(batches))
    result.peak = _peak(dtype)
    with FlopCounterMode(display=False) as counter:
        _seconds(run, batches)
    counts = counter.get_flop_counts()["Global"]
    result.flops = sum(count for kind, count in counts.items() if kind in MULTIPLICATIONS) / len(batches)
    with _labelled(), profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiler:
        start = time.perf_counter()
        _seconds(run, batches)
        elapsed = time.perf_counter() - start
    sums: Counter[str] = Counter()
    for event in profiler.events():
        sums[_kind(event)] += 1e-6 * event.self_cpu_time_total
    sums[REST] += elapsed - sum(sums.values())
    result.kinds = {kind: cpu * seconds / elapsed for kind, seconds in sums.items()}  # only shares: the profiler itself takes time
    return result


def _seconds(run: Step, batches: Sequence[Sequence[Draw]]) -> float:
    start = time.process_time()
    for number, draws in enumerate(batches):
        run(draws, number)
    return time.process_time() - start


def _kind(event: torch.autograd.profiler_util.FunctionEvent) -> str:
    parent = event
    while parent is not None:
        for kind, names in WITHIN.items():
            if parent.name.startswith("Optimizer.step#") and kind.startswith("clipping") or parent.name in names:
                return kind
        parent = parent.cpu_parent
    return next((kind for kind, names in NAMED.items() if event.name.removeprefix("aten::") in names), REST)


@contextlib.contextmanager
def _labelled() -> Iterator[None]:
    """Label some functions in the profile, since they consist of operations that other functions use too."""
    functions = [(Dropout, "keep", "step: dropout"), (optim, "clip_groups", "step: clipping")]
    functions += [(GradientRows, name, "step: gradients") for name in ("inner_products", "merge", "drop", "_store")]
    with contextlib.ExitStack() as stack:
        for owner, name, label in functions:
            stack.enter_context(mock.patch.object(owner, name, record_function(label)(getattr(owner, name))))
        yield


def _peak(dtype: torch.dtype, size: int = 1024, rounds: int = 10) -> float:
    left, right = torch.randn(2, size, size).to(dtype).unbind()
    left @ right
    times = []
    for _ in range(rounds):
        start = time.process_time()
        left @ right
        times.append(time.process_time() - start)
    return 2 * size**3 / min(times)
