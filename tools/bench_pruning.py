"""Compares the loss of a trained transducer in bands of several widths with its exact loss, on the dev sets of the run.

The run needs `prune` in its objective, which trains the joiner that chooses the band. For every width the loss per token and its ratio to
the exact one are printed, and the error of greedy search, which tells how well the run was trained. For example in egs/mini:
  ./run.sh --stop_stage train --train_config conf/train_transducer.yaml --tag pruned --set objectives.asr.prune=5
From the root of the repository:
  python tools/bench_pruning.py --exp exp/pruned
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from m2asr.data.batch import Batch, Share
from m2asr.data.streams import eval_batches
from m2asr.models.encoded import Encoded
from m2asr.objectives.objective import mean
from m2asr.objectives.system import System
from m2asr.objectives.transducer import Transducer
from m2asr.objectives.view import View
from m2asr.train.initialize import load_trained
from m2asr.train.materials import gather

RECIPE = Path(__file__).resolve().parents[1] / "egs/mini"
WIDTHS = (2, 3, 5, 8)
WIDTH, MOST = 5, 1.02  # most loss in a band of this width, as a multiple of the exact one
SECONDS = 60.0  # of audio in a batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="folder from which the other paths start")
    parser.add_argument("--exp", type=Path, default=Path("exp/pruned"), help="a trained run")
    args = parser.parse_args()
    os.chdir(args.recipe)
    if not (args.exp / "model.pt").is_file():
        print(f"pruning: skipped, {args.recipe / args.exp} holds no trained run; --help names the command that trains one")
        return
    config, system, _ = load_trained(args.exp)
    pruned = {name: head for name, head in system.objectives.items() if isinstance(head, Transducer) and head.prune}
    if not pruned:
        parser.error(f"{args.exp}: no objective with `prune`")
    dev = gather(config, Path("data"), Path("dump"), args.exp).dev
    for name, head in pruned.items():
        stream = config.objectives[name].stream
        if stream not in dev:
            parser.error(f"{args.exp}: the stream {stream} has no dev sets")
        compare(system, name, head, eval_batches(dev[stream], SECONDS))


def compare(system: System, name: str, head: Transducer, batches: Iterator[Batch]) -> None:
    """Print the losses of an objective in every band, and its greedy error."""
    tokens, (edits, written), losses = 0.0, (0.0, 0.0), Counter()
    view, tap = head.reads[0]
    for batch in batches:
        system.prepare(batch, [name])
        with torch.inference_mode():
            encoded = {view: system.encode(batch, view, {tap})}
            errors = head.dev_metrics(encoded, batch, None)["error"]
            edits, written = edits + errors[0], written + errors[1]
            if batch.shares[name].weight > 0:
                tokens += float(batch.shares[name].sizes["targets"].sum())
                losses.update(band_losses(head, encoded, batch.shares[name], (None, *WIDTHS)))
    print(f"{name}: exact loss {mean(losses[None], tokens):.4f} per token, greedy error {100 * mean(edits, written):.1f} %")
    for width in WIDTHS:
        ratio = mean(losses[width], losses[None])
        target = f" (at most {MOST}: {'ok' if ratio <= MOST else 'MISSED'})" if width == WIDTH else ""
        print(f"  a band of {width}: {mean(losses[width], tokens):.4f}, {ratio:.5f} of the exact loss{target}")


def band_losses(head: Transducer, encoded: Mapping[View, Encoded], share: Share, widths: Sequence[int | None]) -> dict[int | None, float]:
    """The sum of the losses of a batch in bands of these widths, without the loss of what chooses the band; None: the exact loss."""
    before = head.prune, head.prune_weight
    losses = {}
    try:
        head.prune_weight = 0.0
        for width in widths:
            head.prune = width
            losses[width] = float(head(encoded, share).sum)
    finally:
        head.prune, head.prune_weight = before
    return losses


if __name__ == "__main__":
    main()
