"""A failed allocation is one line that names the batch and the key to lower."""

from __future__ import annotations

import pytest
import torch

from m2asr.bin.command import run
from m2asr.data.batch import Batch, Key
from m2asr.errors import UserError
from m2asr.out_of_memory import describe, explained


def allocate() -> None:
    torch.empty(2**55)


def batch(*utts: str) -> Batch:
    count = len(utts)
    lengths = torch.arange(100, 100 * (count + 1), 100)
    feats = torch.zeros(count, int(lengths.max()), 2)
    tokens = torch.tensor([5] * (count - 1) + [-1])
    targets = {"en": torch.zeros(count, 5)}
    names = list(utts)
    return Batch({"feats": feats}, {"feats": lengths}, targets, {"en": tokens}, ["en"] * count, names, names, Key())


def test_a_failed_allocation_names_the_batch_and_what_to_change() -> None:
    with pytest.raises(UserError) as error, explained(lambda: describe([batch("a", "b", "c")]), "lower batching.seconds"):
        allocate()
    start = "out of memory with 3 utterances of 6 s and 10 tokens, the longest c of 3.0 s; lower batching.seconds"
    assert str(error.value).startswith(start) and "\n" not in str(error.value)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shape"), explained(str, ""):
        torch.zeros(2).view(3)


def test_commands_end_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run(lambda _: allocate())
    error = capsys.readouterr().err
    assert end.value.code == 1 and error.startswith("error: out of memory") and error.count("\n") == 1 and len(error) < 400


def test_an_error_without_a_text_is_told_too(capsys: pytest.CaptureFixture[str]) -> None:
    def main(_: list[str] | None) -> int:
        raise MemoryError

    with pytest.raises(SystemExit):
        run(main)
    assert capsys.readouterr().err.startswith("error: out of memory; lower")
