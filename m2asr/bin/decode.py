"""Decode sets with a trained system, with or without references: the heads of an utterance's language and those that serve every one.

Example:
  python -m m2asr.bin.decode --exp exp/m2asr --config conf/decode.yaml --data data --dump dump test_en test_it
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from m2asr.bin.command import Parser, run
from m2asr.config import DecodeConfig, load_config
from m2asr.errors import UserError
from m2asr.files import open_atomic


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="decode", description=__doc__)
    parser.add_argument("sets", nargs="+", help="sets to decode, folders of --data")
    parser.add_argument("--exp", type=Path, required=True, help="folder of the trained run")
    parser.add_argument("--config", required=True, help="YAML file (DecodeConfig)")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the config, e.g. beam=20")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the data directories")
    parser.add_argument("--dump", type=Path, default=Path("dump"), help="folder of the features")
    parser.add_argument("--ngpu", type=int, default=0, help="0 decodes on the CPU, more on the first GPU")
    args = parser.parse_args(argv)
    search = load_config(DecodeConfig, args.config, args.set)

    from m2asr.data.directory import write_table
    from m2asr.data.sources import Source
    from m2asr.data.streams import eval_batches
    from m2asr.decode.recognize import recognize
    from m2asr.decode.routes import language_id, routes, unread
    from m2asr.decode.search import readers
    from m2asr.train.initialize import load_trained
    from m2asr.train.materials import fbank_config, open_set

    config, system, tokenizers = load_trained(args.exp, "cuda" if args.ngpu else "cpu")
    heads = readers(config, search.method)
    if not heads:
        raise UserError(f"nothing decoded: {args.exp} has no objective of type ctc or attention")
    langid = language_id(config, system) if search.language == "predicted" else None
    indexes = {name: open_set(name, args.data, args.dump) for name in args.sets}
    chosen = {name: routes(config, heads, index.languages, langid) for name, index in indexes.items()}
    problem = "" if langid else unread(config, heads, {name: index.languages for name, index in indexes.items()}, chosen)
    if not any(chosen.values()):
        raise UserError(f"nothing decoded: {problem}")
    if problem:
        print(f"warning: {problem}", file=sys.stderr)
    for name in (name for name, found in chosen.items() if found):
        used = {(reader.tokens, reader.text) for route in chosen[name].values() for reader in route.readers.values()}
        targets = [(tokens, text, tokenizers[tokens]) for tokens, text in sorted(used)]
        source = Source(name, [indexes[name]], targets, fbank_config(args.dump, [name]).frame_shift / 1000)
        read = {key: route.readers for key, route in chosen[name].items()}
        batches = eval_batches(source, search.batch_seconds)
        for key, found in recognize(system, read, batches, tokenizers, search, langid).items():
            route = chosen[name][key]
            out = args.exp / f"decode_{search.name}" / name / key
            write_table(out / "text", found.texts)
            info = {
                "objective": key,
                "set": name,
                **route.task,
                "train_sets": route.train_sets,
                "unrepresentable": found.unrepresentable / found.paired if found.paired else None,
                "seconds": found.seconds,
                "audio_seconds": found.audio_seconds,
                "language": route.language,
                "search": search.model_dump(),
            }
            told = f"{len(found.texts)} utterances, {found.seconds / max(found.audio_seconds, 1e-9):.4f} x real time"
            if langid:
                write_table(out / "utt2lang", found.spoken)
            if found.judged:
                info["language_error"] = found.misjudged / found.judged
                told += f"; language wrong for {found.misjudged} ({info['language_error']:.1%})"
            told += f"; {found.unread} without a head for their language" if found.unread else ""
            with open_atomic(out / "info.json") as file:
                json.dump(info, file, indent=1)
            print(f"{out}/text: {told}")
    return 0


if __name__ == "__main__":
    run(main)
