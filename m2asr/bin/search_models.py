"""Make the language models that decode configs name, for every tokenizer of a run: from texts, or from existing ARPA files.

Example:
  python -m m2asr.bin.search_models --config conf/decode_lm.yaml --train_config conf/train_m2asr.yaml --data data --exp exp/train_m2asr
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, run
from m2asr.config import DecodeConfig, load_config
from m2asr.train_config import TrainConfig


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="search_models", description=__doc__)
    parser.add_argument("--config", required=True, nargs="+", help="YAML files of searches (DecodeConfig)")
    parser.add_argument("--train_config", required=True, help="YAML file of the training (TrainConfig), whose texts are read")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the training config")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the data directories")
    parser.add_argument("--exp", type=Path, required=True, help="folder of the run with its tokens/; the models are written to its lm/")
    args = parser.parse_args(argv)
    searches = [load_config(DecodeConfig, path) for path in args.config]
    config = load_config(TrainConfig, args.train_config, args.set)

    from m2asr.decode.text_models import check_names, make_models

    check_names(searches)
    for search in searches:
        for line in make_models(search, config, args.data, args.exp):
            print(line)
    return 0


if __name__ == "__main__":
    run(main)
