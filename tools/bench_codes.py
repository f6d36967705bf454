"""Times pseudo-codes on one thread: seconds of speech per second of CPU time to learn a codebook, and to write text.codes.

python tools/bench_codes.py --exp exp/train_m2asr
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import sklearn.cluster  # noqa: F401 - so that importing it takes no time of the learning
import torch

from m2asr.data.streams import BadUtterances
from m2asr.decode.codes import Speech, learn_codebook, write_codes
from m2asr.decode.pooled_states import PooledStates

RECIPE = Path(__file__).resolve().parents[1] / "egs/mini"
TARGET = 200  # least multiple of real time, with stored features


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="folder from which the other paths start")
    parser.add_argument("--exp", type=Path, default=Path("exp/train_m2asr"), help="a trained run")
    parser.add_argument("--set", default="train_en", help="a set with stored features")
    parser.add_argument("--tap", default="output", help="the states that are clustered")
    parser.add_argument("--clusters", type=int, default=100, help="number of clusters")
    args = parser.parse_args()
    os.chdir(args.recipe)
    if not (args.exp / "model.pt").is_file():
        print(f"codes: skipped, {args.recipe / args.exp} holds no trained run (cd egs/mini && ./run.sh)")
        return
    torch.set_num_threads(1)
    reader = PooledStates(args.exp, args.tap, 2)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(shutil.copytree(f"data/{args.set}", Path(temporary) / args.set))
        for name, dump, target in (("stored features", Path("dump"), TARGET), ("recordings", None, 0)):
            speech = Speech.open(folder, dump, args.exp, batch_seconds=120.0)
            seconds = float(speech.frames.sum()) * speech.shift
            print(f"{seconds / 60:.1f} minutes of {args.set} from {name}, {args.clusters} clusters of {args.tap}, one thread")
            codebook, spent = timed(lambda speech=speech: learn_codebook([speech], reader, args.clusters, 1.0, 1, 1, BadUtterances(0)))
            report("learn a codebook", seconds / spent, target)
            _, spent = timed(lambda speech=speech, codebook=codebook: write_codes(speech, reader, codebook, BadUtterances(0)))
            report("write codes", seconds / spent, target)


def timed(work: Callable[[], object]) -> tuple[object, float]:
    """The result of some work, and the CPU time that it took, in seconds."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def report(name: str, speed: float, least: int) -> None:
    """Print a speed, beside the target if there is one."""
    target = f" (at least {least}: {'ok' if speed >= least else 'MISSED'})" if least else ""
    print(f"  {name}: {speed:,.0f} x real time{target}", flush=True)


if __name__ == "__main__":
    main()
