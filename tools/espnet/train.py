"""Runs ESPnet's training of recognition and measures its CPU time; for ESPnet's environment, in a recipe's folder.

  python train.py CLOCK --config conformer.yaml ...    # the options of espnet2.bin.asr_train

CLOCK gets a line per epoch: its number, and the steps and CPU seconds of training so far, of this process and its data workers, without
ESPnet's evaluation on the dev sets.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from espnet2.tasks.asr import ASRTask
from espnet2.train.trainer import Trainer


class ClockedTrainer(Trainer):
    """ESPnet's trainer; it measures the CPU time of training in every epoch, and of nothing else."""

    path = ""
    seconds = 0.0

    @classmethod
    def train_one_epoch(cls, *args: Any, **kwargs: Any) -> bool:
        start, reporter = cpu_seconds(), kwargs["reporter"]
        stopped = super().train_one_epoch(*args, **kwargs)
        cls.seconds += cpu_seconds() - start
        line = {"epoch": reporter.get_epoch(), "steps": reporter.get_total_count(), "seconds": round(cls.seconds, 2)}
        with open(cls.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return stopped


class ClockedTask(ASRTask):
    """ESPnet's task of recognition with this trainer."""

    trainer = ClockedTrainer


def cpu_seconds() -> float:
    """User and system time of this process and of its workers, which end with every epoch."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    ClockedTrainer.path = sys.argv[1]
    ClockedTask.main(cmd=sys.argv[2:])
