"""Download a public corpus, with its licences and authors beside it: debspeech.

Files are pinned by SHA-256, and appear whole or not at all; the same command again fetches only what is missing. Debian packages come
through apt-get (of Debian 12; run apt-get update first), or with --mirror from the Debian mirror of your choice; packages of Python come
through pip.

Example:
  python -m m2asr.bin.download debspeech --out downloads
  python -m m2asr.bin.download debspeech --out downloads --parts fillets drascula --mirror file:///media/debian
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, run
from m2asr.config import nearest
from m2asr.errors import UserError


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="download", description=__doc__)
    parser.add_argument("name", help="the corpus")
    parser.add_argument("--out", type=Path, default=Path("downloads"), help="where the files go")
    parser.add_argument("--parts", nargs="+", default=[], metavar="PART", help="sources of debspeech; default or empty: all")
    parser.add_argument("--mirror", help="address under which pool/ of a Debian mirror is; default: apt-get download")
    args = parser.parse_args(argv)
    parts = " ".join(args.parts).split()  # a recipe gives them as one word

    from m2asr.corpora import DOWNLOADS

    if args.name not in DOWNLOADS:
        raise UserError(f"download: cannot download `{args.name}`; {nearest(args.name, DOWNLOADS)}", exit_code=2)
    if args.out.exists() and not args.out.is_dir():
        raise UserError(f"--out {args.out}: it is no folder; choose another place")
    if args.mirror and not args.mirror.startswith(("http://", "https://", "file://")):
        raise UserError(f"--mirror {args.mirror}: it must begin with http://, https:// or file://", exit_code=2)
    print(DOWNLOADS[args.name](args.out, parts, args.mirror))
    return 0


if __name__ == "__main__":
    run(main)
