"""Times the RNN-T loss, forward and backward, beside torchaudio's rnnt_loss on the joint of all states and tokens; measures their memory.

2 utterances of 400 states and 100 tokens, 1000 tokens in the vocabulary, a joint of 512 channels, random projections and weights as an
untrained model has; a trained model, whose alignments are sharper, is faster. `pruned` sums over a band of 5 positions per state,
and includes the joiner that chooses the band, of the same sizes. All sides take turns, and the fastest round of each counts.
Memory is the highest resident memory of a new process above what it had before, measured in the same way for both.

python tools/bench_transducer.py
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torchaudio.functional import rnnt_loss as torchaudio_loss

from m2asr.objectives.rnnt import rnnt_loss
from m2asr.objectives.rnnt_prune import pruned_cells, sum_loss
from m2asr.train.precision import choose

SIZES = (2, 400, 100, 1000, 512)  # utterances, states, tokens, vocabulary, channels of the joint
THREADS = 2
SPEEDS = {"blocks, float32": 1.5, "blocks, bfloat16": 4.0, "pruned, float32": 10.0}  # least speeds, as multiples of torchaudio's in float32
PRUNE = 5  # positions in the text per state
MEMORY = 1 / 8  # most extra memory, as a share of torchaudio's

Loss = Callable[..., Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="the best round of each side counts")
    parser.add_argument("--threads", type=int, default=THREADS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print("{} utterances, {} states, {} tokens, vocabulary {}, joint {}".format(*SIZES) + f", {args.threads} threads")
    cases = [(full_joint, torch.float32), (blocks, torch.float32), (pruned, torch.float32)]
    if choose("auto", torch.device("cpu")) == torch.bfloat16:
        cases += [(blocks, torch.bfloat16), (pruned, torch.bfloat16)]
    else:
        print("  bfloat16: skipped, this CPU does not multiply it in hardware")
    times = seconds(cases, args.rounds)
    memory = [extra_memory(*case, args.threads) for case in cases]
    print(f"  torchaudio behind the full joint, float32: {times[0]:.2f} s, {memory[0] / 1e6:,.0f} MB")
    for (loss, dtype), duration, extra in zip(cases[1:], times[1:], memory[1:], strict=True):
        name = f"{loss.__name__}, {str(dtype).removeprefix('torch.')}"
        speed, share, least = times[0] / duration, extra / memory[0], SPEEDS.get(name)
        bar = f" (at least {least}: {'ok' if speed >= least else 'MISSED'})" if least else ""
        print(f"  {name}: {duration:.2f} s, {extra / 1e6:,.0f} MB; {speed:.2f} times as fast{bar},", end=" ")
        print(f"1/{1 / share:.0f} of the memory (at most 1/{1 / MEMORY:.0f}: {'ok' if share <= MEMORY else 'MISSED'})")


def inputs(dtype: torch.dtype, sizes: tuple[int, ...]) -> list[Tensor]:
    """Projections (B, T, J) and (B, U + 1, J), weight and bias of the output layer, and targets (B, U)."""
    batch, states, tokens, vocab, channels = sizes
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, states, channels), (batch, tokens + 1, channels), (vocab, channels), (vocab,)
    leaves = [torch.randn(shape, generator=generator) for shape in shapes]
    for weight in leaves[2:]:
        weight.div_(channels**0.5)
    leaves = [leaf.to(dtype).requires_grad_() for leaf in leaves]
    return [*leaves, torch.randint(1, vocab, (batch, tokens), generator=generator)]


def blocks(encoded: Tensor, predicted: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """The loss of this toolkit, summed."""
    batch = len(targets)
    return rnnt_loss(encoded, predicted, weight, bias, targets, [encoded.shape[1]] * batch, [targets.shape[1]] * batch).sum()


def pruned(encoded: Tensor, predicted: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """The same within a band of PRUNE tokens, with all that chooses the band."""
    lengths = [encoded.shape[1]] * len(targets), [targets.shape[1]] * len(targets)
    sides = [torch.nn.functional.linear(side, weight.to(side.dtype)).float() for side in (encoded, predicted)]
    choosing, passed = sum_loss(*sides, targets, *lengths)
    losses = rnnt_loss(encoded, predicted, weight, bias, targets, *lengths, cells=pruned_cells(passed, *lengths, PRUNE))
    return (losses + 0.5 * choosing).sum()


def full_joint(encoded: Tensor, predicted: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """torchaudio's loss on the logits (B, T, U + 1, V) of all cells, summed."""
    logits = torch.nn.functional.linear((encoded[:, :, None] + predicted[:, None]).tanh(), weight, bias)
    frames, tokens = (torch.full((len(targets),), size, dtype=torch.int32) for size in (encoded.shape[1], targets.shape[1]))
    return torchaudio_loss(logits, targets.int(), frames, tokens, blank=0, reduction="sum")


def run(loss: Loss, leaves: list[Tensor]) -> float:
    """Forward and backward; returns the seconds of both."""
    start = time.perf_counter()
    loss(*leaves).backward()
    duration = time.perf_counter() - start
    for leaf in leaves:
        leaf.grad = None
    return duration


def seconds(cases: list[tuple[Loss, torch.dtype]], rounds: int) -> list[float]:
    """The fastest of some rounds of every case, which take turns."""
    leaves = [inputs(dtype, SIZES) for _, dtype in cases]
    durations = [[run(loss, values) for (loss, _), values in zip(cases, leaves, strict=True)] for _ in range(rounds)]
    return [min(column) for column in zip(*durations, strict=True)]


def extra_memory(loss: Loss, dtype: torch.dtype, threads: int) -> float:
    """Bytes of resident memory that a forward and a backward pass need at most, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_extra_memory, (loss, dtype, threads, SIZES))


def _extra_memory(loss: Loss, dtype: torch.dtype, threads: int, sizes: tuple[int, ...]) -> float:
    torch.set_num_threads(threads)
    run(loss, inputs(dtype, (1, 5, 3, *sizes[3:])))  # libraries are loaded and threads started
    leaves = inputs(dtype, sizes)
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the highest value begins anew
    run(loss, leaves)
    return _resident("VmHWM") - before


def _resident(field: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * float(re.search(rf"{field}:\s+(\d+) kB", status)[1])


if __name__ == "__main__":
    main()
