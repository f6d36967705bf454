"""Compute log mel filterbank features of data directories.

Example:
  python -m m2asr.bin.fbank --config conf/fbank.yaml --nj 4 --data data --dump dump train_en dev_en
"""

from __future__ import annotations

import time
from pathlib import Path

from m2asr.bin.command import Parser, run
from m2asr.config import FbankConfig, load_config


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="fbank", description=__doc__)
    parser.add_argument("sets", nargs="+", help="sets, folders of --data")
    parser.add_argument("--config", required=True, help="YAML file (FbankConfig)")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the config, e.g. num_mel_bins=40")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the data directories")
    parser.add_argument("--dump", type=Path, default=Path("dump"), help="folder of the features")
    parser.add_argument("--nj", type=int, default=2, help="processes")
    parser.add_argument("--compress", action="store_true", help="one byte per value")
    parser.add_argument("--allow_pipes", action="store_true", help="run the commands that wav.scp holds")
    args = parser.parse_args(argv)
    if args.nj < 1:
        parser.error(f"--nj {args.nj}: at least one process is needed")
    config = load_config(FbankConfig, args.config, [*args.set, *(["compress=true"] if args.compress else [])])

    from m2asr.data.extract import extract

    for name in args.sets:
        start = time.perf_counter()
        count, hours = extract(args.data / name, args.dump / name, config, args.nj, args.allow_pipes)
        speed = hours * 3600 / (time.perf_counter() - start)
        print(f"{args.dump / name}: {count} utterances, {hours:.2f} h, {speed:.0f} x real time")
    return 0


if __name__ == "__main__":
    run(main)
