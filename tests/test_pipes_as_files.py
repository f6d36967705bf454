"""A named pipe where a file is meant is told at once, instead of waiting for somebody to write into it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from m2asr.data.ark import read_matrix
from m2asr.data.audio import audio_seconds, read_audio
from m2asr.decode.code_purity import Purity
from m2asr.decode.codebook import Codebook
from m2asr.errors import UserError
from m2asr.text.tokenizer import Tokenizer
from m2asr.train import checkpoint
from tests.fuzz.commands import limited

READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "recording": ("a.wav", lambda path: read_audio(str(path))),
    "length of a recording": ("a.wav", lambda path: audio_seconds(str(path))),
    "matrix": ("feats.ark", read_matrix),
    "tokenizer": ("tokenizer.yaml", lambda path: Tokenizer.load(path.parent)),
    "codebook": ("codebook.npz", Codebook.load),
    "checkpoint": ("model.pt", checkpoint.load),
    "alignment": ("tokens.ctm", lambda path: Purity(path).add("utt", np.array([1]), np.array([0.1]))),
}


@pytest.mark.parametrize("what", READERS)
def test_a_pipe_that_nobody_writes_into_is_told(what: str, tmp_path: Path) -> None:
    name, read = READERS[what]
    os.mkfifo(tmp_path / name)
    with limited(30), pytest.raises(UserError, match="it is a pipe or a device"):
        read(tmp_path / name)
