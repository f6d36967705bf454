"""Reads the YAML of configs: safe, without duplicate keys, with numbers in exponent form."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from m2asr.errors import UserError


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping; numbers like 1e-4 are floats. Raises UserError naming the file and line."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot read this config: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: cannot read this config: it is not UTF-8 text; convert the file") from None
    try:
        data = yaml.load(text, Loader=Loader)  # noqa: S506 - a SafeLoader, only with the YAML 1.2 form of floats
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError(f"{where}: not valid YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: a config is a mapping `key: value`, this file holds {type(data).__name__}")
    return data


class Loader(yaml.SafeLoader):
    """A SafeLoader that rejects duplicate keys and reads 1e-4 as a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                continue  # the call of super() below refuses it
            key = self.construct_object(key_node, deep=True)
            if key in keys:
                raise yaml.constructor.ConstructorError(None, None, f"`{key}` is given twice", key_node.start_mark)
            keys.add(key)
        return super().construct_mapping(node, deep=deep)


Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789"))
