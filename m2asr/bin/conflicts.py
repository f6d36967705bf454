"""Report which objectives of a run are in conflict beyond the noise of their batches, in which layers, and how this changed.

Example:
  python -m m2asr.bin.conflicts exp/train_m2asr
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, run


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="conflicts", description=__doc__)
    parser.add_argument("exp", type=Path, help="folder of the run; it may still be training")
    args = parser.parse_args(argv)

    from m2asr.report.conflicts import summarize

    print(summarize(args.exp), end="")
    return 0


if __name__ == "__main__":
    run(main)
