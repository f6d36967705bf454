"""Compares the CPU time of training steps of two revisions, which take turns on the same batches.

Each revision runs in a separate process, from a temporary worktree, on the data and tokens of this folder's egs/mini. While one process
works, the other waits. Every step has new batches, as in a training, so the time to prepare kernels for new shapes counts. Without NEW, the
files of this folder are compared as they are. Needs stages 0 to 2 of egs/mini (./run.sh --stop_stage tokens).

  python tools/compare_revisions.py main
  python tools/compare_revisions.py v1 v2 --config conf/train_supervised.yaml --set train.precision=float32
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
WARM_UP = 5  # steps that do not count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="revision to compare with")
    parser.add_argument("new", nargs="?", help="revision that is compared; default: the files of this folder")
    parser.add_argument("--rounds", type=int, default=100, help="steps of each revision")
    parser.add_argument("--config", type=Path, default=Path("conf/train_m2asr.yaml"), help="config inside egs/mini of each revision")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the config in both revisions")
    parser.add_argument("--set_new", nargs="*", default=[], metavar="KEY=VALUE", help="further changes in the new revision alone")
    parser.add_argument("--env_new", nargs="*", default=[], metavar="KEY=VALUE", help="environment of the new revision alone")
    parser.add_argument("--exp", type=Path, default=Path("exp/train_m2asr"), help="run whose tokens/ are used, inside egs/mini")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        roots = [stack.enter_context(checked_out(revision)) for revision in (args.old, args.new)]
        differences: list[tuple[list[str], list[str]]] = [([], []), (args.set_new, args.env_new)]
        workers = [
            Worker(root, args.config, args.exp, [*args.set, *changes], args.threads, environment)
            for root, (changes, environment) in zip(roots, differences, strict=True)
        ]
        for worker in workers:
            stack.callback(worker.close)
        seconds = [tuple(worker.step() for worker in workers) for _ in range(WARM_UP + args.rounds)][WARM_UP:]
    old, new = ([1000 * pair[index] for pair in seconds] for index in range(2))
    ratios = [b / a for a, b in zip(old, new, strict=True)]
    print(f"CPU time of a step, median of {args.rounds}: {args.old} {statistics.median(old):.1f} ms, ", end="")
    print(f"{args.new or 'this folder'} {statistics.median(new):.1f} ms")
    spread = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
    print(f"ratio of the medians {statistics.median(new) / statistics.median(old):.3f}, of the sums {sum(new) / sum(old):.3f}; ", end="")
    print(f"of the same step {spread[1]:.3f}, half of them from {spread[0]:.3f} to {spread[2]:.3f}")


@contextlib.contextmanager
def checked_out(revision: str | None) -> Iterator[Path]:
    """The folder of a revision, which is a temporary worktree; for None this folder."""
    if revision is None:
        yield ROOT
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "revision"
        subprocess.run(["git", "-C", str(ROOT), "worktree", "add", "--quiet", "--detach", str(root), revision], check=True)
        try:
            yield root
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(root)], check=True)


def with_lower_level(config: Path, changes: list[str]) -> list[str]:
    """Add gamma 0.1 to the changes of a config that has a lower level. Most trainings start with gamma 0, which skips that level."""
    has_lower_level = "penalty" in yaml.safe_load(config.read_text(encoding="utf-8"))
    return ["penalty={start: 0.1, end: 0.1}", *changes] if has_lower_level else list(changes)


class Worker:
    """A process that trains with the code of a revision; it makes a step on request."""

    def __init__(self, root: Path, config: Path, exp: Path, changes: list[str], threads: int, environment: list[str]) -> None:
        config = root / "egs/mini" / config
        line = [sys.executable, __file__, "--worker", str(root), str(config), str(exp), str(threads), *with_lower_level(config, changes)]
        env = {**os.environ, "OMP_NUM_THREADS": str(threads), **dict(pair.split("=", 1) for pair in environment)}
        self.process = subprocess.Popen(
            line, cwd=ROOT / "egs/mini", env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def step(self) -> float:
        """Make the next step; returns its CPU seconds."""
        print("step", file=self.process.stdin)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("a revision failed; its message stands above")
        return float(answer)

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def work(root: str, config: str, exp: str, threads: str, *changes: str) -> None:
    """Make a step for every line of standard input, and answer with its CPU seconds."""
    sys.path[:1] = [root, str(Path(root) / "tools")]  # instead of the folder of this file
    import torch

    import steps
    from m2asr.train.memory import keep_freed_memory

    torch.set_num_threads(int(threads))
    keep_freed_memory()
    steps.CONFIG = Path(config)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # other prints go to standard error, so that they are not taken for answers
    phase = steps.CASES["mini"].phase([*changes, "train.workers=0"], Path(exp), "cpu")
    run = steps.training_step(phase)
    for number, (_, step) in enumerate(zip(sys.stdin, phase.loader, strict=False)):
        draws = step.draws()
        start = time.process_time()
        run(draws, number)
        print(time.process_time() - start, file=answers, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(*sys.argv[2:])
    else:
        main()
