"""Whether a progress bar would be seen."""

from __future__ import annotations

import os
import sys


def visible() -> bool:
    """Standard error is a terminal, or a recipe that logs it copies it to one (M2ASR_PROGRESS, set by utils/stages.sh)."""
    return sys.stderr.isatty() or os.environ.get("M2ASR_PROGRESS") == "1"
