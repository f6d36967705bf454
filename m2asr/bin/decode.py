"""Decode sets with a trained system: every CTC and attention objective whose language is that of the set writes its hypotheses.

Example:
  python -m m2asr.bin.decode --exp exp/m2asr --config conf/decode.yaml --data data --dump dump test_en test_it
"""

from __future__ import annotations

import json
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

    from m2asr.data.sources import Source
    from m2asr.data.streams import eval_batches
    from m2asr.decode.recognize import recognize
    from m2asr.decode.routes import Route, language_id, routes
    from m2asr.decode.search import readers
    from m2asr.train.initialize import load_trained
    from m2asr.train.materials import fbank_config, open_set, targets_of

    config, system, tokenizers = load_trained(args.exp, "cuda" if args.ngpu else "cpu")
    heads = readers(config, search.method)
    langid = language_id(config, system) if search.language == "predicted" else None
    written = 0
    for name in args.sets:
        index = open_set(name, args.data, args.dump)
        geometry = fbank_config(args.dump, [name])
        for stream, chosen in routes(config, heads, index.languages, index.has_text, langid).items():
            source = Source(name, [index], targets_of(config, stream, tokenizers), geometry.frame_shift / 1000)
            batches = eval_batches(source, search.batch_seconds)
            read = {key: route.readers for key, route in chosen.items()}
            for key, found in recognize(system, read, batches, tokenizers, search, langid).items():
                route: Route = chosen[key]
                out = args.exp / f"decode_{search.name}" / name / key
                with open_atomic(out / "text") as file:
                    file.writelines(f"{utt} {hypothesis}".rstrip() + "\n" for utt, hypothesis in sorted(found.texts.items()))
                info = {
                    "objective": key,
                    "set": name,
                    **route.task,
                    "train_sets": config.streams[stream].sets,
                    "unrepresentable": found.unrepresentable / found.paired if found.paired else None,
                    "seconds": found.seconds,
                    "audio_seconds": found.audio_seconds,
                    "language": route.language,
                    "search": search.model_dump(),
                }
                told = f"{len(found.texts)} utterances, {found.seconds / max(found.audio_seconds, 1e-9):.4f} x real time"
                if langid:
                    info["language_error"] = found.misjudged / len(found.texts)
                    told += f"; language wrong for {found.misjudged} ({info['language_error']:.1%}), {found.unread} without a head"
                with open_atomic(out / "info.json") as file:
                    json.dump(info, file, indent=1)
                written += 1
                print(f"{out}/text: {told}")
    if not written:
        raise UserError(f"nothing decoded: no objective of {args.exp} matches the language and texts of {', '.join(args.sets)}")
    return 0


if __name__ == "__main__":
    run(main)
