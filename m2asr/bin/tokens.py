"""Train the tokenizers of a training config, and report how well they cover the texts.

Example:
  python -m m2asr.bin.tokens --config conf/train_m2asr.yaml --data data --out exp/m2asr/tokens
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, run
from m2asr.config import load_config
from m2asr.train_config import TrainConfig


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="tokens", description=__doc__)
    parser.add_argument("--config", required=True, help="YAML file (TrainConfig)")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the config, e.g. tokens.en.size=500")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the data directories")
    parser.add_argument("--out", type=Path, required=True, help="folder of the tokenizers")
    args = parser.parse_args(argv)
    config = load_config(TrainConfig, args.config, args.set)

    from m2asr.data.texts import check_codebooks, read_texts, training_texts
    from m2asr.text.coverage import coverage
    from m2asr.text.tokenizer import train_tokenizer

    for name, section in config.tokens.items():
        folders = [args.data / set_name for set_name in section.sets]
        if section.type == "codes":
            writers = [objective for objective in config.objectives.values() if objective.options().get("tokens") == name]
            streams = [config.streams[objective.stream] for objective in writers]
            check_codebooks([*folders, *(args.data / set_name for stream in streams for set_name in [*stream.sets, *stream.dev])])
        texts = training_texts(folders, section.text, config.batching.language_temperature)
        tokenizer = train_tokenizer(section.type, section.size, texts, args.out / name, section.coverage, section.byte_fallback)
        print(f"tokens.{name}: {section.type}, {tokenizer.size} tokens from {len(texts)} texts of {', '.join(section.sets)}")
        for key, objective in config.objectives.items():
            view = objective.options().get("view") or {}
            texts_of = ((objective.options(), "tokens"), (view, "input"))  # that it writes, and that it reads
            for text in dict.fromkeys(options.get("text", "text") for options, which in texts_of if options.get(which) == name):
                stream = config.streams[objective.stream]
                for set_name in dict.fromkeys([*stream.sets, *stream.dev]):
                    for lang, lines in read_texts(args.data / set_name, text).items():
                        print(f"  {key}, {set_name} ({lang}): {coverage(tokenizer, lines)}")
    return 0


if __name__ == "__main__":
    run(main)
