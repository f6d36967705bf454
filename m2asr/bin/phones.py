"""Write text.phones into data directories or text sets: how their texts are read out, as phones separated by spaces.

Mandarin is read by pypinyin as initials and toned finals (你好: n i3 h ao3), numbers as words, Latin letters as capitals. Other
languages are read letter by letter, or by the program espeak-ng (--how espeak) in IPA. The report counts phones, and names characters
without a reading; these are left out. A tokenizer of the type `words` makes tokens of the phones. With --train_config it writes the phones
of the sets of which a training config reads text.phones.

Example:
  python -m m2asr.bin.phones data/train_zh data/dev_zh
  python -m m2asr.bin.phones data/train_en --how espeak
  python -m m2asr.bin.phones --train_config conf/train_mmspeech.yaml
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, run
from m2asr.config import load_config
from m2asr.train_checks import sets_with
from m2asr.train_config import TrainConfig

FILE = "text.phones"


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="phones", description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, metavar="data/<set>", help="data directories or text sets")
    parser.add_argument("--lang", help="language of all texts (ISO 639-1); default: that of every utterance in utt2lang")
    parser.add_argument("--how", choices=["pypinyin", "espeak", "letters"], help="the reader; default: pypinyin for zh, else letters")
    parser.add_argument("--train_config", help="training config whose sets get phones too")
    parser.add_argument("--train_set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to it")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the sets that it names")
    args = parser.parse_args(argv)
    if not args.folders and not args.train_config:
        parser.error("give data/<set>, or --train_config")
    folders = list(args.folders)
    if args.train_config:
        config = load_config(TrainConfig, args.train_config, args.train_set)
        folders += [args.data / name for name in sets_with(FILE, config)]

    from m2asr.data.phones import write_phones

    for folder in dict.fromkeys(folders):
        print(write_phones(folder, args.lang, args.how))
    return 0


if __name__ == "__main__":
    run(main)
