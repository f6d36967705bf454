"""Entry points, each called as `python -m m2asr.bin.<name>`. In all of them an error of the installation is reported in one line."""

from __future__ import annotations

import sys
from types import TracebackType

from m2asr.installation import explain


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if line := explain(error):
        print(f"error: {line}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _report  # imports of an entry point can fail before its `main` runs, where no `try` could catch the error
