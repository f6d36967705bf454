"""Every command that is named in messages, docstrings, recipes and documents exists and has the options that stand beside it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.conftest import ROOT

GLOBS = ("README.md", "Makefile", "docs/*.md", "utils/*.sh", "m2asr/**/*.py", "tools/**/*.py", "tools/**/*.sh", "egs/*/*.sh", "egs/*/*.md",
          "egs/*/conf/*.yaml")  # fmt: skip
FILES = sorted({path for pattern in GLOBS for path in ROOT.glob(pattern)})
NAMES = {path.stem for path in (ROOT / "m2asr/bin").glob("*.py")}


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """The modules m2asr.bin.<name> that a text names, each with the options that follow in its command."""
    text = re.sub(r"\\\n", " ", text)
    for match in re.finditer(r"m2asr\.bin\.([a-z]\w*)(.*)", text):
        command = re.split(r"[`;|]| #| m2asr\.bin\.", match[2])[0]
        yield match[1], re.findall(r"(?<![\w-])--([a-z][a-z_]*)", command)
    for names in re.findall(r"m2asr\.bin\.\{([^}]*,[^}]*)\}", text):
        yield from ((name, []) for name in names.split(",") if name != "...")


def options(name: str) -> set[str]:
    """The options that an entry point declares."""
    tree = ast.parse((ROOT / f"m2asr/bin/{name}.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument"]
    words = [word.value for call in calls for word in call.args if isinstance(word, ast.Constant)]
    return {"help", *(word.removeprefix("--") for word in words if word.startswith("--"))}


def test_every_command_that_is_named_exists() -> None:
    problems = []
    for path in FILES:
        for name, named_options in commands(path.read_text(encoding="utf-8")):
            if name not in NAMES:
                problems.append(f"{path}: there is no m2asr.bin.{name}")
            elif unknown := set(named_options) - (options(name) if named_options else set()):
                problems.append(f"{path}: m2asr.bin.{name} has no option {', '.join(sorted(unknown))}")
    assert not problems, "\n".join(problems)


def test_commands_are_found_wherever_they_stand() -> None:
    text = "`python -m m2asr.bin.lm --text a \\\n  --words`, not --this; m2asr.bin.{fbank,train,...}\n[m, 'm2asr.bin.score', '--exp', x]"
    assert list(commands(text)) == [("lm", ["text", "words"]), ("score", ["exp"]), ("fbank", []), ("train", [])]
    assert {"config", "ngpu", "init_from", "help"} <= options("train") and "no_such" not in options("train")
    assert len(FILES) > 150 and sum(1 for path in FILES for _ in commands(path.read_text(encoding="utf-8"))) > 100
