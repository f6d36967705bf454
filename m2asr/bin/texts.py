"""Write the phones and codes that a training config reads: text.phones and text.codes of its sets, by m2asr.bin.phones and m2asr.bin.codes.

Nothing happens if the config reads neither of them. The codes need a trained run, whose states are clustered; all sets get codes of the
same codebook, which is learned from the training sets among them.

Example:
  python -m m2asr.bin.texts --config conf/train_mmspeech.yaml --data data --dump dump --codes_exp exp/pretrain_cpc --clusters 100
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, run
from m2asr.config import load_config
from m2asr.errors import UserError
from m2asr.train_checks import sets_with
from m2asr.train_config import TrainConfig

PHONES, CODES = "text.phones", "text.codes"


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="texts", description=__doc__)
    parser.add_argument("--config", required=True, help="YAML file (TrainConfig)")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the config")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the data directories")
    parser.add_argument("--dump", type=Path, default=Path("dump"), help="folder of the features")
    parser.add_argument("--how", help="the reader of phones: pypinyin, espeak or letters; default: by language")
    parser.add_argument("--codes_exp", help="folder of the trained run whose states become codes")
    parser.add_argument("--tap", default="output", help="its states: frontend, block1, block2 ... or output")
    parser.add_argument("--clusters", type=int, default=500, help="number of codes")
    args = parser.parse_args(argv)
    config = load_config(TrainConfig, args.config, args.set)

    from m2asr.bin import codes, phones

    folders = [str(args.data / name) for name in sets_with(PHONES, config)]
    if folders:
        phones.main([*folders, *(["--how", args.how] if args.how else [])])
    folders = [str(args.data / name) for name in sets_with(CODES, config)]
    if folders and not args.codes_exp:
        raise UserError(
            f"{args.config}: it reads {CODES}, clusters of the states of a trained run; give run.sh the config of this run, such as "
            "--codes_config conf/pretrain_cpc.yaml"
        )
    if folders:
        learn = [str(args.data / name) for stream in config.streams.values() for name in stream.sets if str(args.data / name) in folders]
        options = ["--exp", args.codes_exp, "--dump", str(args.dump), "--tap", args.tap, "--clusters", str(args.clusters)]
        codes.main([*folders, *options, "--train_sets", *dict.fromkeys(learn)])
    return 0


if __name__ == "__main__":
    run(main)
