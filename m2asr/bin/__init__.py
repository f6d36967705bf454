"""Entry points, each `python -m m2asr.bin.<name>`. An error that comes from the installation is one line in all of them."""

from __future__ import annotations

import sys
from types import TracebackType

from m2asr.installation import explain


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if line := explain(error):
        print(f"error: {line}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _report  # entry points import packages before their first line runs: no `try` in them would see all of it
