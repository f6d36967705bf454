"""Turns a failed allocation into one line: what was being computed, and which key to lower."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from m2asr.errors import UserError, shortened

if TYPE_CHECKING:
    from m2asr.data.batch import Batch

# torch.OutOfMemoryError of GPUs, and the RuntimeErrors of its allocator for CPUs, of oneDNN and of cuBLAS
FAILED = re.compile(r"(?i)out of memory|can't allocate memory|not enough memory|could not create a memory|ALLOC_FAILED|bad_alloc")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is a failed allocation."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and FAILED.search(str(error)) is not None)


@contextmanager
def explained(what: Callable[[], str], remedy: str) -> Iterator[None]:
    """Raise UserError where memory runs out in the block: `what` tells what it computed, `remedy` what to change."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"out of memory with {what()}; {remedy}{_wanted(error)}") from None


def describe(batches: Iterable[Batch]) -> str:
    """The batches of a step for a message: utterances, seconds, tokens, and the longest utterance."""
    batches = list(batches)
    count = sum(len(batch.utt_ids) for batch in batches)
    seconds = sum(batch.seconds for batch in batches)
    tokens = sum(int(lengths.clamp(min=0).sum()) for batch in batches for lengths in batch.target_lengths.values())
    text = f"{count} utterances of {seconds:.0f} s and {tokens} tokens"
    feats = [batch for batch in batches if "feats" in batch.lengths and len(batch.utt_ids)]
    if feats:
        longest = max(feats, key=lambda batch: int(batch.lengths["feats"].max()))
        row = int(longest.lengths["feats"].argmax())
        text += f", the longest {longest.utt_ids[row]} of {float(longest.lengths['feats'][row]) * longest.frame_shift:.1f} s"
    return text


def _wanted(error: BaseException) -> str:
    match = re.search(r"tried to allocate ([\d.]+ ?\w+)", str(error))
    return f" ({shortened(match[1])} more were asked for)" if match else ""
