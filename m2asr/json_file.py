"""Reads the JSON files that the toolkit has written."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from m2asr.errors import UserError, shortened
from m2asr.files import read_text

INFO = ("set", "lang", "source", "task", "text", "objective")  # keys of info.json in a decoded folder
REMEDY = "run stage 5 (decode) again with --force"


def read_json(path: Path, remedy: str, keys: Iterable[str] = ()) -> dict[str, Any]:
    """The object of a JSON file. Raises UserError with a remedy where it is missing, empty, cut off, or lacks one of the keys."""
    try:
        data = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged or cut off ({shortened(str(error))}); {remedy}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: damaged: it holds {type(data).__name__} instead of an object; {remedy}")
    if missing := [key for key in keys if key not in data]:
        raise UserError(f"{path}: damaged, or of another version: it has no `{missing[0]}`; {remedy}")
    return data
