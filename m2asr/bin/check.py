"""Check the installation: versions, whether torch and torchaudio load, devices, optional packages. Exit code 1 where it does not work.

Example:
  python -m m2asr.bin.check --constraints constraints.txt
"""

from __future__ import annotations

from pathlib import Path

from m2asr.bin.command import Parser, run
from m2asr.errors import UserError
from m2asr.installation import constraints_used, findings


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="check", description=__doc__)
    parser.add_argument("--constraints", type=Path, default=constraints_used(), help="file of the versions that were tested")
    args = parser.parse_args(argv)
    if not args.constraints.is_file():
        raise UserError(f"check: --constraints {args.constraints}: no such file", exit_code=2)
    broken = []
    for finding in findings(args.constraints):
        print(finding, flush=True)
        if finding.state == "broken" or (finding.state == "missing" and finding.component in ("m2asr", "packages")):
            broken.append(finding.component)
    if broken:
        raise UserError(f"this installation does not work: {', '.join(broken)}; the lines above tell what to do")
    print("this installation works")
    return 0


if __name__ == "__main__":
    run(main)
