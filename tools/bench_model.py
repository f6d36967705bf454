"""Times the training step of m2asr's Conformer-CTC against torchaudio's Conformer behind the same front end.

The case `window` times the encoder with `window: [32, 32]` against the encoder without a window, at several numbers of states.

python tools/bench_model.py            # all cases, 7 rounds, 2 threads
python tools/bench_model.py --rounds 3 --case paper
python tools/bench_model.py --rounds 3 --case window --threads 1 --cpu-time
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
import torchaudio
from torch import Tensor, nn

from m2asr.models.conformer import Conformer
from m2asr.train.precision import choose

FEAT_DIM, VOCAB = 80, 500
TARGETS = {"m2asr fp32": 0.85, "m2asr bf16": 0.40}  # most time, as a share of torchaudio's fp32 step, in the paper case

WINDOW, LENGTHS, STATES = [32, 32], (250, 1000, 4000), 4000  # states before and after; states of an utterance; states of a batch


@dataclass(frozen=True)
class Case:
    """Sizes of a model and of its batch; seconds holds one length per utterance."""

    blocks: int
    dim: int
    heads: int
    kernel: int
    seconds: tuple[float, ...]
    front_ends: tuple[str, ...]
    dropout: float = 0.1

    def conformer(self, subsampling: str) -> Conformer:
        return Conformer(FEAT_DIM, self.blocks, self.dim, self.heads, self.kernel, dropout=self.dropout, subsampling=subsampling)


CASES = {
    "paper": Case(12, 256, 4, 31, (8.0,) * 8, ("conv2d",)),
    "demo": Case(4, 160, 4, 15, tuple(1.5 + 0.1 * n for n in range(16)), ("conv2d", "dwconv")),
}


class Recognizer(nn.Module):
    """A Conformer with a CTC head."""

    def __init__(self, case: Case, subsampling: str) -> None:
        super().__init__()
        self.encoder = case.conformer(subsampling)
        self.output = nn.Linear(case.dim, VOCAB)

    def encode(self, feats: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        states, lengths = self.encoder.frontend(feats), self.encoder.output_lengths(lengths)
        padded = bool((lengths < states.shape[1]).any())
        return self.encoder(states, lengths, padded=padded)["output"], lengths

    def forward(self, feats: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
        states, lengths = self.encode(feats, lengths)
        log_probs = F.log_softmax(self.output(states).float(), dim=-1).transpose(0, 1)  # (T', B, V)
        return F.ctc_loss(log_probs, targets, lengths, target_lengths)


class Reference(Recognizer):
    """The same recognizer with torchaudio's blocks behind m2asr's front end."""

    def __init__(self, case: Case, subsampling: str) -> None:
        super().__init__(case, subsampling)
        self.encoder.blocks = nn.ModuleList()
        self.blocks = torchaudio.models.Conformer(case.dim, case.heads, 4 * case.dim, case.blocks, case.kernel, dropout=case.dropout)

    def encode(self, feats: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return self.blocks(self.encoder.frontend(feats), self.encoder.output_lengths(lengths))


def batch(case: Case) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Noise with the lengths of the case, and 5 tokens per second of noise."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([round(100 * seconds) for seconds in case.seconds])
    feats = torch.randn(len(lengths), int(lengths.max()), FEAT_DIM, generator=generator)
    targets = torch.randint(1, VOCAB, (len(lengths), int(lengths.max()) // 20), generator=generator)
    return feats, lengths, targets, lengths // 20


def training_step(model: nn.Module, data: tuple[Tensor, ...], bf16: bool) -> Callable[[], None]:
    """Forward, loss, backward and Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5, fused=True)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model(*data)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def encoder_step(encoder: Conformer, states: Tensor, bf16: bool) -> Callable[[], None]:
    """The blocks over states (B, T', D) without padding, forward and backward."""
    lengths = torch.full((len(states),), states.shape[1])

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            output = encoder(states, lengths, padded=False)["output"]
        output.float().square().mean().backward()
        encoder.zero_grad(set_to_none=True)

    return step


def alternate(steps: dict[str, Callable[[], None]], rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Milliseconds of every step. The steps take turns, so that a change in the machine's load affects all of them."""
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = clock()
            step()
            times[name].append(1000 * (clock() - start))
    return times


def compare(case: Case, front_end: str, rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Print milliseconds per step; returns the ratios of the medians to torchaudio's."""
    torch.manual_seed(0)
    model, reference, data = Recognizer(case, front_end), Reference(case, front_end), batch(case)
    steps = {
        "torchaudio fp32": training_step(reference, data, bf16=False),
        "m2asr fp32": training_step(model, data, bf16=False),
        "m2asr bf16": training_step(model, data, bf16=True),
    }
    times = alternate(steps, rounds, clock)
    base = times["torchaudio fp32"]
    ratios = {}
    for name, values in times.items():
        ratios[name] = statistics.median(values) / statistics.median(base)
        middle = f"{statistics.median(values):7.0f} ms/step, ratio {ratios[name]:.2f}"
        print(f"  {front_end:7s} {name:16s} {middle}   (fastest {min(values):7.0f}, ratio {min(values) / min(base):.2f})", flush=True)
    return ratios


def compare_windows(rounds: int, clock: Callable[[], float]) -> None:
    """Print milliseconds of the encoder with a window and without one, and their ratio; in bfloat16 too if the CPU multiplies it."""
    native = choose("auto", torch.device("cpu")) == torch.bfloat16
    for length in LENGTHS:
        states = torch.randn(STATES // length, length, 256, generator=torch.Generator().manual_seed(0))
        encoders = {name: Conformer(FEAT_DIM, 2, 256, 4, 31, window=window) for name, window in (("all", None), ("window", WINDOW))}
        for precision in ("fp32", "bf16") if native else ("fp32",):
            steps = {name: encoder_step(encoder, states, precision == "bf16") for name, encoder in encoders.items()}
            times = alternate(steps, rounds, clock)
            full, local = (statistics.median(times[name]) for name in ("all", "window"))
            fastest = min(times["window"]) / min(times["all"])
            line = f"{length:5d} states {precision}: all states {full:6.0f} ms, window {WINDOW} {local:6.0f} ms"
            print(f"  {line}, ratio {local / full:.2f}   (of the fastest {fastest:.2f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="timed steps of each model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true", help="the processor time of all threads, for a machine with other load")
    parser.add_argument("--case", choices=[*CASES, "window"], nargs="+", default=[*CASES, "window"])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = time.process_time if args.cpu_time else time.perf_counter
    for name in args.case:
        if name == "window":
            print(f"window: 2 blocks, dim 256, {STATES} states in all, {args.threads} threads")
            compare_windows(args.rounds, clock)
            continue
        case = CASES[name]
        sizes = f"{case.blocks} blocks, dim {case.dim}, {len(case.seconds)} utterances of {sum(case.seconds):.0f} s in all"
        print(f"{name}: {sizes}, {args.threads} threads")
        for front_end in case.front_ends:
            ratios = compare(case, front_end, args.rounds, clock)
            for model, most in TARGETS.items() if name == "paper" else ():
                verdict = "met" if ratios[model] <= most else "MISSED"
                print(f"  {model}: {ratios[model]:.2f} of torchaudio fp32, at most {most:.2f}: {verdict}")


if __name__ == "__main__":
    main()
