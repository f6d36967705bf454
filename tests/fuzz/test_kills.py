"""Killed commands leave every file and folder as it was or as it is to be, and the same command then reaches the same bytes."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.fuzz.commands import call, contents
from tests.fuzz.kills import killed
from tests.fuzz.world import RUN, copy_world, make_world

CASES, FIRST = int(os.environ.get("M2ASR_FUZZ", "0")), int(os.environ.get("M2ASR_FUZZ_SEED", "1"))
TOKENS = "--config conf/train.yaml --set tokens.it.type=words --data data --out exp/tokens"
FEW = "subset_data_dir data/it data/few --first"
REST = "subset_data_dir data/it data/rest --utt_list rest"
COMMANDS = {  # name: what was run before, the command, and the folders that appear as a whole
    "fix_data_dir": ([], "fix_data_dir data/it --lang it", ["data/it"]),
    "subset_data_dir": ([f"{FEW} 2"], f"{FEW} 3", ["data/few"]),
    "combine_data": ([f"{FEW} 2", REST, "combine_data data/both data/few"], "combine_data data/both data/few data/rest", ["data/both"]),
    "prepare_text": ([], "prepare_text lines.txt --lang it --out data/texts", ["data/texts"]),
    "phones": ([], "phones data/random --how letters", []),
    "tokens": ([], f"tokens {TOKENS}", ["exp/tokens/it"]),
    "lm": (["lm --text lines.txt --words --out lm --order 2"], "lm --text data/it --words --out lm --order 3 --gzip", []),
    "train": ([], f"train {RUN['train']}", []),
    "fbank": ([], "fbank it --config conf/fbank.yaml --nj 1 --data data --dump dump", ["dump/it"]),
}
SHORT = ["fix_data_dir", "subset_data_dir", "tokens", "lm"]  # training and fbank take seconds
UNSTEADY = ["fbank"]  # its processes clear away temporary files at the end, more or fewer of them
# times, paths, and the backup of a repaired directory, which is there where it was repaired before the kill
VOLATILE = re.compile(r"(.*/)?(index/.*|tensorboard/.*|train\.jsonl|train_info\.json|checkpoints/.*|\.download\.lock|\.backup2/.*)")


def stable(files: Mapping[str, bytes | str]) -> dict[str, bytes | str]:
    """The files whose bytes follow from the command alone."""
    return {name: content for name, content in files.items() if not VOLATILE.fullmatch(name)}


def within(files: Mapping[str, bytes | str], folder: str) -> dict[str, bytes | str]:
    return {name: content for name, content in stable(files).items() if name.startswith(f"{folder}/")}


@pytest.mark.parametrize("name", list(COMMANDS) if CASES else SHORT)
def test_killed_commands(name: str, tmp_path: Path) -> None:
    earlier, line, folders = COMMANDS[name]
    module, *args = line.split()
    world, copy = make_world(tmp_path / "start"), tmp_path / "world"
    for before in earlier:
        assert call(before.split()[0], before.split()[1:], world).code == 0
    old = contents(world)
    moments = killed(module, args, copy_world(world, copy), None)
    new = contents(copy)
    assert moments > 2 and stable(new) != stable(old)
    for seed in range(FIRST, FIRST + max(2, CASES // 100)):
        rng = random.Random(f"{name} {seed}")
        moment = rng.randrange(moments) if rng.random() < 0.8 else rng.uniform(0.01, 1.0)
        case = f"seed {seed}: {line}, killed at {'step' if isinstance(moment, int) else 'second'} {moment}"
        count = killed(module, args, copy_world(world, copy), moment)
        if name in UNSTEADY and count != -1 and isinstance(moment, int):
            moment = rng.randrange(count // 2)
            case = f"{case}, then at step {moment}"
            count = killed(module, args, copy_world(world, copy), moment)
        assert count == -1 or isinstance(moment, float), f"{case}: it was not killed, as it had only {count} moments"
        left = contents(copy)
        for path, content in stable(left).items():
            hidden = any(part.startswith(".") for part in path.split("/"))
            assert hidden or content in (old.get(path), new.get(path)), f"{case}: {path} is half-written"
        for folder in folders:
            parts = within(left, folder)
            whole = not parts or parts in (within(old, folder), within(new, folder))
            assert whole, f"{case}: {folder} is half-written: {sorted(parts)}"
        ending = call(module, args, copy)
        assert ending.code == 0, f"{case}, and again: {ending.err}"
        again = stable(contents(copy))
        different = [path for path in sorted(again.keys() | stable(new).keys()) if again.get(path) != new.get(path)]
        assert not different, f"{case}, and again: these differ from an undisturbed run: {different}"
