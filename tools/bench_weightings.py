"""Measures time and memory of merging gradients: weightings and the conflict report against static weights, and MGDA against torchjd.

Needs stages 0 to 2 of egs/mini (./run.sh --stop_stage tokens), which `make bench` runs. Run from the root of the repository:
  python tools/bench_weightings.py                          # real batches, the demo's model
  python tools/bench_weightings.py --device cuda --peak 989 # the size of M2ASR on noise, 198 s per step; peak: matrix rate in TFLOP/s
  python tools/bench_weightings.py --case tiny --rounds 1   # the same on a CPU, in seconds, to see that it runs
  python tools/bench_weightings.py --part torchjd --rounds 24   # one table alone, in more rounds where others use the machine too
Variants take turns on the same batches. A ratio is the median of the ratios of single steps.
"""

from __future__ import annotations

import argparse
import os
import statistics
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from m2asr.errors import UserError
from m2asr.train.passes import Draw
from m2asr.train.phase import Phase
from steps import CASES, Step, batches_of, milliseconds, peak_bytes, ratio, take_turns, training_step

MOST = 1.05  # most time of a weighting, as a multiple of the least time that its backward passes take
FEATURES = 1.10  # the same for gradients at the features, which need one pass through the backbone
REPORT = 1.03  # most time with the conflict report, as a multiple of a step's time; one step in train.log_every is measured
SEPARATE_GAIN, SHARED_GAIN = 1.5, 1.0  # least speed, as a multiple of torchjd's: on separate streams, and on the same stream

PARTS = ("weightings", "torchjd", "conflicts", "buffers")

Make = Callable[..., Phase]  # (overrides of a layout, further overrides ...) -> phase

WEIGHTINGS = {
    "mgda": "{type: mgda}",
    "moco": "{type: moco}",
    "modo-2": "{type: modo}",
    "modo-3": "{type: modo, samples: 3}",
    "features": "{type: mgda, gradients: features}",
}
OTHERS = ["penalty=null", "batching.shares={}"]


@dataclass(frozen=True)
class Layout:
    """Objectives on streams. per_stream is the number of objectives of every stream, None where streams differ."""

    title: str
    overrides: tuple[str, ...]
    per_stream: int | None = None

    def bar(self, weighting: str) -> float | None:
        """The most time of a step, as a multiple of static's: a forward costs 1, a backward 2, and each objective has its own backward.

        With three draws this holds for the first draw, while the other two cost as much as under static weights.
        """
        if self.per_stream is None:
            return None
        if weighting == "features":
            return FEATURES
        exact = 1 + 2 * self.per_stream
        return MOST * ((exact + 6) / 9 if weighting == "modo-3" else exact / 3)


def _on_one_stream(**objectives: str) -> tuple[str, ...]:
    listed = ", ".join(f"{name}: {{type: ctc, stream: it, {options}}}" for name, options in objectives.items())
    return ("streams={it: {sets: [train_it]}}", "train.epoch_of=it", f"objectives={{{listed}}}", *OTHERS)


ASR, ST = "tokens: it", "tokens: en_cased, text: text.en"
SEPARATE = Layout(
    "three objectives, each on its own stream",
    (
        "streams={en: {sets: [train_en]}, it: {sets: [train_it]}, ru: {sets: [train_ru]}}",
        "objectives={asr_en: {type: ctc, stream: en, tokens: en}, asr_it: {type: ctc, stream: it, tokens: it}, "
        "asr_ru: {type: ctc, stream: ru, tokens: ru}}",
        *OTHERS,
    ),
    1,
)
SHARED = [
    Layout("two objectives on one stream", _on_one_stream(asr_it=ASR, st_it_en=ST), 2),
    Layout("three objectives on one stream", _on_one_stream(asr_it=ASR, st_it_en=ST, asr_it_2=ASR), 3),
]
DEMO = Layout(
    "the demo's: three streams with recognition, two of them with translation as well, CPC below", ("penalty={start: 0.1, end: 0.1}",)
)


def compare_weightings(layout: Layout, make: Make, rounds: int, peak: float | None) -> None:
    """Print the times of the weightings, and their ratios to static weights on the same draws: full batches, halves or thirds."""
    print(f"\nstep over static weights: {layout.title}")
    phases: dict[str, Phase] = {"static": make(layout.overrides, "weighting={type: static}")}
    for name, section in WEIGHTINGS.items():
        try:
            phases[name] = make(layout.overrides, f"weighting={section}")
        except UserError as error:
            print(f"  {name:10s} left out: {error}")
    for draws in sorted({phase.levels[0].draws for phase in phases.values()}):
        group = {name: phase for name, phase in phases.items() if name == "static" or phase.levels[0].draws == draws}
        steps = {name: training_step(phase) for name, phase in group.items()}
        batches = batches_of(list(group.values())[-1], rounds)
        times = take_turns(steps, batches, rounds)
        for name, step in steps.items():
            share = ratio(times[name], times["static"])
            relation = f"{share:.3f} of static{_at_most(share, layout.bar(name))}"
            if name == "static":
                relation = f"in batches of 1/{draws} of a stream's audio; {_audio(batches, rounds) / sum(times[name]):.0f} s of audio per s"
            print(f"  {name:10s} {milliseconds(times[name])}  {_rate(step, batches, times[name], peak)}  {relation}", flush=True)


def compare_torchjd(layout: Layout, make: Make, rounds: int) -> None:
    """Print time and memory of MGDA's step beside torchjd's, for every backward function of torchjd."""
    from torchjd_steps import WAYS, TorchJD

    least = SEPARATE_GAIN if layout.per_stream == 1 else SHARED_GAIN
    print(f"\nMGDA against torchjd: {layout.title}")
    our_phase, their_phase = (make(layout.overrides, "weighting={type: mgda}") for _ in range(2))
    reference = TorchJD(their_phase)
    batches = batches_of(our_phase, rounds)
    steps: dict[str, Step] = {}
    warnings.filterwarnings("ignore", "There is a performance drop")  # from operators without a rule for torch.vmap
    for name, way in WAYS.items():
        try:
            reference.at_once(way)(batches[0], 0)
            steps[name] = reference.at_once(way)
        except RuntimeError as error:  # torch.vmap cannot run the fused kernels of the model
            print(f"  {name:26s} left out: {str(error).splitlines()[0]}")
    possible = list(steps)
    steps |= {"jac per stream, by hand": reference.stream_by_stream(), "m2asr": training_step(our_phase)}
    times = take_turns(steps, batches, rounds)
    with_activations: dict[str, int] = {}  # bytes
    gradients: dict[str, int] = {}  # bytes
    for name, step in steps.items():
        with_activations[name], gradients[name] = peak_bytes(our_phase if name == "m2asr" else their_phase, step, batches[0])
        memory = f"gradients {gradients[name] / 1e6:7.1f} MB, with activations {with_activations[name] / 1e6:8.1f} MB"
        print(f"  {name:26s} {milliseconds(times[name])}, {ratio(times[name], times['m2asr']):.2f} of m2asr's; {memory}")
    left_out = "; ".join(name for name in WAYS if name not in steps) or "none"
    print(f"  of its multi-task backwards, {len(possible)} of {len(WAYS)} are compared; left out: {left_out}")
    if not possible:
        return
    fastest = min(possible, key=lambda name: statistics.median(times[name]))
    gains = [theirs / ours for theirs, ours in zip(times[fastest], times["m2asr"], strict=True)]
    gain, spread = statistics.median(gains), f"{min(gains):.3f} to {max(gains):.3f} in single rounds"
    print(f"  {gain:.3f} times as fast as the fastest ({fastest}; {spread}), at least {least:g}: {_verdict(gain >= least)}")
    for tensors, sizes in (("gradients", gradients), ("gradients and activations", with_activations)):
        leanest = min(possible, key=lambda name: sizes[name])
        share = sizes["m2asr"] / sizes[leanest]
        print(f"  {share:.3f} of the memory for {tensors} of the leanest ({leanest}), at most 1: {_verdict(share <= 1)}")


def compare_reports(make: Make, rounds: int) -> None:
    """Print the cost of measuring conflicts, spread over the steps between two lines of the log."""
    print(f"\nconflict report: {DEMO.title}")
    for kind in ("modo", "static"):
        plain = make(DEMO.overrides, f"weighting={{type: {kind}}}")
        apart = make(DEMO.overrides, f"weighting={{type: {kind}}}", "train.conflicts=true") if kind == "static" else plain
        steps = {"plain": training_step(plain), "between": training_step(apart), "measured": training_step(apart, measure=True)}
        times, every = take_turns(steps, batches_of(plain, rounds), rounds), plain.config.train.log_every
        mean = [((every - 1) * between + measured) / every for between, measured in zip(times["between"], times["measured"], strict=True)]
        share = ratio(mean, times["plain"])
        by_step = ", ".join(f"{name} {ratio(times[name], times['plain']):.3f}" for name in ("measured", "between"))
        print(f"  {kind:10s} every {every} steps: {share:.3f} of the time without{_at_most(share, REPORT)}   ({by_step})")


def show_buffers(make: Make) -> None:
    """Print how many gradients of the backbone a step keeps, and their memory."""
    count = 3  # objectives of the layout
    print(f"\ngradients of the backbone kept, {count} objectives")
    for name, rows in {"static": 1, "mgda": count + 1, "modo-3": count + 2, "modo-2": 2 * count + 1, "moco": 2 * count + 1}.items():
        phase = make(SEPARATE.overrides, f"weighting={WEIGHTINGS.get(name, '{type: static}')}")
        print(f"  {name:10s} {phase.rows} gradients, {phase.gradient_bytes / 1e6:.1f} MB   {rows} wanted: {_verdict(phase.rows == rows)}")


def _audio(batches: Sequence[Sequence[Draw]], rounds: int) -> float:
    """Seconds of speech in the timed rounds."""
    sizes = [sum(batch.seconds for draw in draws for micro_batches in draw.values() for batch in micro_batches) for draws in batches]
    return sum(sizes[number % len(sizes)] for number in range(rounds))


def _rate(step: Step, batches: Sequence[Sequence[Draw]], times: Sequence[float], peak: float | None) -> str:
    """The floating-point operations per second of a step, and their share of `peak` (TFLOP/s) where it is given."""
    counts = []
    for draws in batches:
        with FlopCounterMode(display=False) as counter:
            step(draws, 0)
        counts.append(counter.get_total_flops())
    rate = sum(counts[number % len(counts)] for number in range(len(times))) / sum(times) / 1e12
    return f"{rate:7.3f} TFLOP/s" + (f" ({rate / peak:.1%})" if peak else "")


def _at_most(value: float, bar: float | None) -> str:
    return f", at most {bar:.3f}: {_verdict(value <= bar)}" if bar else ""


def _verdict(is_met: bool) -> str:
    return "met" if is_met else "MISSED"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append", help="table to print; may be repeated; default: all")
    parser.add_argument("--rounds", type=int, default=12, help="timed steps of each variant")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--case", choices=CASES, help="model and batches; default: mini on the CPU, m2asr on a GPU")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--peak", type=float, help="matrix rate of the chip in TFLOP/s, to print the share of it that is used")
    parser.add_argument("--recipe", type=Path, default=Path("egs/mini"))
    parser.add_argument("--exp", type=Path, default=Path("exp/train_m2asr"), help="run whose tokens/ are used, inside the recipe")
    args = parser.parse_args()
    os.chdir(args.recipe)
    name = args.case or ("mini" if args.device == "cpu" else "m2asr")
    case = CASES[name]
    if case.utterance is None and not (args.exp / "tokens").is_dir():
        parser.error("run ./run.sh --stop_stage tokens in egs/mini first, or give --case tiny")

    def make(overrides: tuple[str, ...], *further: str) -> Phase:
        return case.phase([*overrides, f"train.precision={args.precision}", "train.workers=0", *further], args.exp, args.device)

    phase = make(SEPARATE.overrides)
    backbone = sum(param.numel() for param in phase.system.encoder.parameters())
    precision, device = str(phase.dtype).removeprefix("torch."), f"{args.device}, {torch.get_num_threads()} threads"
    print(f"case {name}: {backbone:,} parameters in the backbone, {precision} on {device}; {args.rounds} rounds")
    tables = args.part or PARTS
    for layout in (SEPARATE, *SHARED, DEMO) if "weightings" in tables else ():
        compare_weightings(layout, make, args.rounds, args.peak)
    for layout in (SEPARATE, *SHARED) if "torchjd" in tables else ():
        compare_torchjd(layout, make, args.rounds)
    if "conflicts" in tables:
        compare_reports(make, args.rounds)
    if "buffers" in tables:
        show_buffers(make)


if __name__ == "__main__":
    main()
