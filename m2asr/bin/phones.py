"""Write text.phones into data directories or text sets: how their texts are read out, as phones separated by spaces.

Mandarin is read by pypinyin as initials and toned finals (你好: n i3 h ao3), numbers as words, Latin letters as capitals. Other
languages are read letter by letter, or by the program espeak-ng (--how espeak) in IPA. The report counts phones, and names characters
without a reading; these are left out. A tokenizer of the type `words` makes tokens of the phones.

Example:
  python -m m2asr.bin.phones data/train_zh data/dev_zh
  python -m m2asr.bin.phones data/train_en --how espeak
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, run


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="phones", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="data/<set>", help="data directories or text sets")
    parser.add_argument("--lang", help="language of all texts such as en or zh-CN; default: that of every utterance in utt2lang")
    parser.add_argument("--how", choices=["pypinyin", "espeak", "letters"], help="the reader; default: pypinyin for zh, else letters")
    args = parser.parse_args(argv)

    from m2asr.data.phones import write_phones

    for folder in args.folders:
        print(write_phones(folder, args.lang, args.how))
    return 0


if __name__ == "__main__":
    run(main)
