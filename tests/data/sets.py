"""Small sets with random features, written as the toolkit stores them."""

from __future__ import annotations

from pathlib import Path

import kaldiio
import numpy as np


def write_set(
    root: Path, name: str, frames: list[int], lang: str = "en", texts: dict[str, list[str | None]] | None = None
) -> tuple[Path, Path]:
    """Write data/<name> and dump/<name>; texts: file name -> a line per utterance, None where it has none. Feature 0 counts frames."""
    data, dump = root / "data" / name, root / "dump" / name
    data.mkdir(parents=True)
    dump.mkdir(parents=True)
    utts = [f"{name}-spk{i % 3}-{i:04d}" for i in range(len(frames))]
    utts, frames = zip(*sorted(zip(utts, frames, strict=True)), strict=True)
    rng = np.random.default_rng(len(frames))
    feats = {utt: rng.normal(size=(length, 4)).astype(np.float32) for utt, length in zip(utts, frames, strict=True)}
    kaldiio.save_ark(str(dump / "feats.1.ark"), feats, scp=str(dump / "feats.scp"))
    write_lines(dump / "utt2num_frames", [f"{utt} {length}" for utt, length in zip(utts, frames, strict=True)])
    write_lines(data / "utt2spk", [f"{utt} {utt.rsplit('-', 1)[0]}" for utt in utts])
    write_lines(data / "utt2lang", [f"{utt} {lang}" for utt in utts])
    for file, lines in (texts or {}).items():
        write_lines(data / file, [f"{utt} {line}" for utt, line in zip(utts, lines, strict=True) if line is not None])
    return data, dump


def write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
