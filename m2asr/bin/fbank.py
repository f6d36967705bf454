"""Compute log mel filterbank features of the named sets and of the sets that training configs read, at all speeds of these configs.

Example:
  python -m m2asr.bin.fbank --config conf/fbank.yaml --nj 4 --data data --dump dump train_en dev_en
  python -m m2asr.bin.fbank test_en --config conf/fbank.yaml --nj 4 --train_config conf/train_m2asr.yaml --keep
"""

from __future__ import annotations

import time
from pathlib import Path

from m2asr.bin.command import Parser, natural, run
from m2asr.config import FbankConfig, load_config
from m2asr.errors import UserError
from m2asr.files import recover
from m2asr.names import check_option
from m2asr.train_config import TrainConfig


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="fbank", description=__doc__)
    parser.add_argument("sets", nargs="*", help="sets, folders of --data")
    parser.add_argument("--config", required=True, help="YAML file (FbankConfig)")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the config, e.g. num_mel_bins=40")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the data directories")
    parser.add_argument("--dump", type=Path, default=Path("dump"), help="folder of the features")
    parser.add_argument("--nj", type=natural, default=2, help="number of processes")
    parser.add_argument("--compress", action="store_true", help="one byte per value")
    parser.add_argument("--allow_pipes", action="store_true", help="run the commands that wav.scp holds")
    parser.add_argument("--train_config", nargs="+", default=[], help="training configs whose sets are computed too")
    parser.add_argument("--train_set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the first of these configs")
    parser.add_argument("--keep", action="store_true", help="skip sets whose features were computed from the same recordings before")
    args = parser.parse_args(argv)
    if args.nj < 1:
        parser.error(f"--nj {args.nj}: at least one process is needed")
    check_option("sets", *args.sets)
    config = load_config(FbankConfig, args.config, [*args.set, *(["compress=true"] if args.compress else [])])
    if config.speed != 1:
        raise UserError(f"{args.config}: speed {config.speed}: remove it; speeds belong into streams.*.speeds of a training config")

    sets = [(name, 1.0) for name in args.sets]
    for number, path in enumerate(args.train_config):
        training = load_config(TrainConfig, path, args.train_set if number == 0 else [])
        sets += [(name, 1.0) for name in training.audio_sets()]
        sets += [(name, speed) for name, speeds in training.stored_speeds().items() for speed in speeds]
        check_prepared(training, path, args.data)
    if not args.sets and not args.train_config:
        parser.error("give sets, or --train_config")

    from m2asr.data.extract import extract, is_up_to_date
    from m2asr.data.feats import dump_of

    for name, speed in dict.fromkeys(sets):
        dump, options = dump_of(args.dump, name, speed), config.model_copy(update={"speed": speed})
        if args.keep and is_up_to_date(args.data / name, dump, options):
            print(f"{dump}: computed before, kept")
            continue
        start = time.perf_counter()
        result = extract(args.data / name, dump, options, args.nj, args.allow_pipes, args.config)
        speedup = result.hours * 3600 / (time.perf_counter() - start)
        print(f"{dump}: {result.utterances} utterances, {result.hours:.2f} h, {speedup:.0f} x real time")
        for rate, count in sorted(result.resampled.items()):
            print(f"{dump}: {count} of {result.utterances} utterances resampled from {rate} Hz to {config.sample_rate} Hz")
    return 0


def check_prepared(config: TrainConfig, path: str, data: Path) -> None:
    """Raise UserError where a set that a training config reads has not been prepared."""
    if missing := [name for name in config.audio_sets() if not (recover(data / name) / "wav.scp").is_file()]:
        raise UserError(
            f"{path}: it reads {', '.join(missing)}, and {data} does not have {'it' if len(missing) == 1 else 'them'}; fetch that part of "
            "the corpus and run stage 0 (data) with --force, or take it out of streams.*.sets and dev, or choose another config"
        )


if __name__ == "__main__":
    run(main)
