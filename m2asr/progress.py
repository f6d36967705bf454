"""Tells whether anyone sees progress bars."""

from __future__ import annotations

import os
import sys


def visible() -> bool:
    """Whether standard error is a terminal, or a recipe copies it to a terminal (M2ASR_PROGRESS=1, set by utils/stages.sh)."""
    return sys.stderr.isatty() or os.environ.get("M2ASR_PROGRESS") == "1"
