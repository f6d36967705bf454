"""Runs m2asr.bin.train and measures the CPU time of its steps alone, as tools/espnet/train.py measures ESPnet's trainer.

  python tools/clocked_train.py CLOCK --config conf/train_supervised.yaml ...    # the options of m2asr.bin.train

CLOCK gets {"seconds": CPU seconds of this process and its data workers, "hours": of audio}, without start-up, dev sets and checkpoints.
"""

from __future__ import annotations

import json
import os
import sys
import time

from m2asr.bin import command
from m2asr.bin.train import main
from m2asr.files import open_atomic
from m2asr.report.log import TrainLog
from m2asr.train import trainer

PATH = sys.argv[1] if len(sys.argv) > 1 else ""


class ClockedTrainer(trainer.Trainer):
    """A trainer that measures the CPU time of its steps, without the work at the end of an epoch."""

    clock = 0.0

    def run(self) -> None:
        before = os.times()
        super().run()  # its data workers end before it returns, so their time is known
        after = os.times()
        workers = after.children_user + after.children_system - before.children_user - before.children_system
        with open_atomic(PATH) as file:
            json.dump({"seconds": round(self.clock + workers, 2), "hours": round(self.audio_seconds / 3600, 3)}, file)

    def _train(self, log: TrainLog) -> None:
        start = time.process_time()
        super()._train(log)
        self.clock += time.process_time() - start

    def _end_epoch(self, epoch: int, log: TrainLog) -> None:
        start = time.process_time()
        super()._end_epoch(epoch, log)
        self.clock -= time.process_time() - start


if __name__ == "__main__":
    trainer.Trainer = ClockedTrainer  # the command then builds this trainer
    command.run(lambda _: main(sys.argv[2:]))
