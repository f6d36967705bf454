"""Recognize a whole set in several processes, which share its batches."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from tqdm import tqdm

from m2asr.decode.recognize import Key, Recognized, Task, recognize
from m2asr.decode.trained import Trained
from m2asr.objectives.langid import LanguageId
from m2asr.processes import Report, run_forked
from m2asr.progress import visible


def recognize_set(
    trained: Trained, name: str, tasks: Mapping[Key, Task], seconds: float, purpose: str, langid: LanguageId | None = None
) -> dict[Key, Recognized]:
    """The results of every task on a set, in batches of at most `seconds` of audio; a progress bar shows the `purpose`.

    They do not depend on the number of processes. Raises UserError if the set cannot be read.
    """
    readers = [reader for task in tasks.values() for reader in task.routes.values()]

    count = len(trained.open(name))
    processes = max(1, min(trained.processes, count))

    def work(rank: int, report: Report) -> dict[Key, Recognized]:
        if processes > 1:
            torch.set_num_threads(1)  # also where this process had more before the fork, which has none of them
        batches = trained.batches(name, readers, seconds, rank, processes)
        return recognize(trained.system, tasks, batches, trained.tokenizers, langid, report)

    with tqdm(total=count, desc=f"{purpose} {name}", unit="utt", disable=not visible()) as bar:
        parts = run_forked(work, processes, bar.update)
    return {key: Recognized.joined([part[key] for part in parts]) for key in tasks}
