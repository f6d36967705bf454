"""Times features on one core: from samples in memory, and from the mini corpus's Ogg Opus files to an ark file.

python tools/bench_fbank.py
"""

from __future__ import annotations

import argparse
import tempfile
import timeit
from pathlib import Path

import kaldiio
import torch

from m2asr.data.audio import read_audio
from m2asr.features.fbank import Fbank

ROOT = Path(__file__).resolve().parents[1]
TARGET_MEMORY, TARGET_ARK = 1000, 350  # least speeds, as multiples of real time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=200, help="recordings to read")
    parser.add_argument("--rounds", type=int, default=5, help="the best round counts")
    args = parser.parse_args()
    torch.set_num_threads(1)
    files = [str(path) for path in sorted((ROOT / "egs/mini/corpus/audio").rglob("*.opus"))[: args.files]]
    if not files:
        parser.error(f"{ROOT / 'egs/mini/corpus/audio'}: no recordings")
    waves = [read_audio(path)[0] for path in files]
    seconds = sum(map(len, waves)) / 16000
    fbank = Fbank()

    def from_memory() -> None:
        for wave in waves:
            fbank(wave)

    def opus_to_ark() -> None:
        with tempfile.NamedTemporaryFile() as ark:
            for number, path in enumerate(files):
                kaldiio.save_ark(ark, {str(number): fbank(read_audio(path)[0])})

    print(f"fbank, 80 mel, one core, {len(files)} recordings, {seconds:.0f} s of speech")
    for name, work, target in (("from memory", from_memory, TARGET_MEMORY), ("Opus to ark", opus_to_ark, TARGET_ARK)):
        speed = seconds / min(timeit.repeat(work, number=1, repeat=args.rounds))
        print(f"  {name}: {speed:,.0f} x real time (at least {target:,}: {'ok' if speed >= target else 'MISSED'})")


if __name__ == "__main__":
    main()
