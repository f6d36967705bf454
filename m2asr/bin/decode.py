"""Decode sets with a trained system, with or without references, by the heads for an utterance's language and the heads for all languages.

Several configs are decoded in the same pass of the encoder. Where a config gives a list of numbers, the best is chosen on the dev sets.

Example:
  python -m m2asr.bin.decode test_en test_it --exp exp/m2asr --config conf/decode.yaml conf/decode_lm.yaml --data data --dump dump
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, natural, prepare_device, processes, run
from m2asr.config import DecodeConfig, load_config
from m2asr.names import check_option


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="decode", description=__doc__)
    parser.add_argument("sets", nargs="+", help="sets to decode, folders of --data")
    parser.add_argument("--exp", type=Path, required=True, help="folder of the trained run")
    parser.add_argument("--config", required=True, nargs="+", help="YAML files (DecodeConfig)")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the configs, e.g. beam=20")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the data directories")
    parser.add_argument("--dump", type=Path, default=Path("dump"), help="folder of the features")
    parser.add_argument("--ngpu", type=natural, default=0, help="0 decodes on the CPU, more on the first GPU")
    parser.add_argument("--nj", type=processes, default=1, help="processes of one thread each that share the batches of a set, on the CPU")
    args = parser.parse_args(argv)
    check_option("sets", *args.sets)
    if args.nj < 1:
        parser.error(f"--nj {args.nj}: at least one process is needed")
    searches = [load_config(DecodeConfig, path, args.set) for path in args.config]

    from m2asr.decode.run import decode
    from m2asr.decode.trained import Trained

    trained = Trained.load(args.exp, args.data, args.dump, prepare_device(args.ngpu), processes=1 if args.ngpu else args.nj)
    decode(trained, searches, args.sets)
    return 0


if __name__ == "__main__":
    run(main)
