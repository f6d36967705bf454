"""Every command of a recipe in the documentation names configs that exist, and changes that give a valid config."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch

from m2asr.config import DecodeConfig, load_config
from m2asr.objectives.build import build_system, resolve
from m2asr.report.ablation import Ablation
from m2asr.train_config import TrainConfig
from tests.recipes.recipe import ROOT
from tests.recipes.test_configs import sizes

PAGES = [ROOT / "README.md", *sorted(ROOT.glob("egs/*/README.md")), *sorted(ROOT.glob("docs/*.md"))]
SCHEMAS = {
    "--train_config": TrainConfig,
    "--pretrain_config": TrainConfig,
    "--codes_config": TrainConfig,
    "--decode_config": DecodeConfig,
    "--config": Ablation,
}


def commands(page: Path) -> list[tuple[Path, list[str]]]:
    """The calls of run.sh and ablation.sh in the bash blocks of a page, each with the folder in which it is called."""
    found, folder = [], page.parent if page.name == "README.md" else ROOT
    for text in re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
        words: list[str] = []
        for line in text.replace("\\\n", " ").splitlines():
            words.append(line)
            try:
                parsed = shlex.split("\n".join(words), comments=True)
            except ValueError:  # a quotation goes on in the next line
                continue
            words = []
            if parsed[:1] == ["cd"]:
                folders = [path.resolve() for path in (folder / parsed[1], ROOT / parsed[1]) if path.is_dir()]
                folder = folders[0] if folders else folder  # a copy of the recipe that the user makes
            elif parsed and parsed[0] in ("./run.sh", "./ablation.sh"):
                found.append((folder, parsed))
    return found


CALLS = [(folder, words) for page in PAGES for folder, words in commands(page)]


@pytest.mark.parametrize(("folder", "words"), CALLS, ids=[f"{folder.name}-{number}" for number, (folder, _) in enumerate(CALLS)])
def test_a_command_of_the_documentation_is_valid(folder: Path, words: list[str]) -> None:
    assert (folder / words[0]).is_file()
    options = dict(zip(words, words[1:], strict=False))
    for option, schema in SCHEMAS.items():
        for name in options.get(option, "").split():
            load_config(schema, folder / name)
    if words[0] == "./run.sh" and "--set" in words:
        default = re.search(r"^train_config=(\S+)", (folder / "run.sh").read_text(encoding="utf-8"), re.M)
        path = options.get("--train_config") or default[1]
        changes = re.split(r"\s(?=[A-Za-z0-9_.]+=)", options["--set"].strip())  # as run.sh does it
        config = resolve(load_config(TrainConfig, folder / path, changes))
        with torch.device("meta"):
            build_system(config, sizes(config), 80)
