"""Reads the JSON files that the toolkit has written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from m2asr.errors import UserError, shortened
from m2asr.files import read_text

INFO = dict.fromkeys(("set", "lang", "source", "task", "text", "objective"), str)  # keys of info.json in a decoded folder, and their types
REMEDY = "run stage 5 (decode) again with --force"


def read_json(path: Path, remedy: str, keys: Mapping[str, type] | None = None) -> dict[str, Any]:
    """The object of a JSON file. Raises UserError with a remedy where it is missing, empty, cut off, or lacks one of the keys.

    A list in `keys` is one of texts, a dict one with a `name`.
    """
    try:
        data = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged or cut off ({shortened(str(error))}); {remedy}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: damaged: it holds {type(data).__name__} instead of an object; {remedy}")
    for key, kind in (keys or {}).items():
        if key not in data:
            raise UserError(f"{path}: damaged, or of another version: it has no `{key}`; {remedy}")
        value = data[key]
        fits = isinstance(value, kind)
        if fits and kind in (list, dict):
            fits = all(isinstance(text, str) for text in (value if kind is list else [value.get("name")]))
        if not fits:
            raise UserError(f"{path}: damaged, or of another version: `{key}` is {shortened(repr(value))}; {remedy}")
    return data
