"""Reads the YAML of configs: safe, without duplicate keys, with the numbers and truth values of YAML 1.2, in bounded time and memory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from m2asr.errors import UserError
from m2asr.files import read_text

LONGEST = 1 << 20  # characters of a config
LARGEST = 100_000  # values of a config, those that aliases repeat counted every time
DEEPEST = 50  # lists and mappings within each other


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping; numbers like 1e-4 are floats, and `no` and `on` are words. Raises UserError naming the file and line."""
    data = parse_yaml(read_text(Path(path), "config", LONGEST), str(path))
    if not isinstance(data, dict):
        raise UserError(f"{path}: a config is a mapping `key: value`, this file holds {type(data).__name__}")
    return data


def parse_yaml(text: str, where: str) -> Any:
    """The data of a YAML text. Raises UserError that begins with `where` for a text that is broken, too deep or too large."""
    try:
        data = yaml.load(text, Loader=Loader)  # noqa: S506 - a SafeLoader, only with the words and numbers of YAML 1.2
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"{where}:{mark.line + 1}" if mark else where
        reason = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise UserError(f"{line}: not valid YAML: {reason}") from None
    except RecursionError:
        raise UserError(f"{where}: not a config: lists or mappings are more than {DEEPEST} deep within each other") from None
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:  # of values behind tags, such as `!!int x`
        raise UserError(f"{where}: not valid YAML: {str(error).partition(chr(10))[0]}; take tags such as !!int away") from None
    if _size(data, where) > LARGEST:
        raise UserError(f"{where}: not a config: it holds more than {LARGEST} values, aliases included")
    return data


class Loader(yaml.SafeLoader):
    """A SafeLoader that rejects duplicate keys and reads plain words as YAML 1.2 does.

    So 1e-4 is a number, and `no`, `on`, 12:30 and 2024-01-01 are words.
    """

    yaml_implicit_resolvers: dict[str, list] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys: set[str] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key_node, yaml.ScalarNode):
                continue  # the call of super() below refuses it
            key = self.construct_object(key_node, deep=True)
            if key in keys:
                raise yaml.constructor.ConstructorError(None, None, f"`{key}` is given twice", key_node.start_mark)
            keys.add(key)
        return super().construct_mapping(node, deep=deep)


for tag, pattern, first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(0|[1-9][0-9_]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))


def _size(data: Any, where: str) -> int:
    """The number of values in nested data, repeated parts counted every time. Raises UserError for data within itself, or too deep."""
    sizes: dict[int, int] = {}

    def size(value: Any, depth: int) -> int:
        if not isinstance(value, dict | list | tuple | set):
            return 1
        if depth > DEEPEST:
            raise UserError(f"{where}: not a config: lists or mappings are more than {DEEPEST} deep within each other")
        if id(value) not in sizes:
            values = value.values() if isinstance(value, dict) else value
            sizes[id(value)] = 1 + sum(size(part, depth + 1) for part in values)
        return sizes[id(value)]

    return size(data, 0)
