"""Damaged files of data, features, configs and runs end every command that reads them in a clear line, and cost no other file."""

from __future__ import annotations

import os
import random
import re
import resource
from pathlib import Path

import pytest

from tests.fuzz.cases import smallest
from tests.fuzz.commands import call, contents, fault, lost
from tests.fuzz.damage import WAYS, damage
from tests.fuzz.world import RUN, copy_world, make_world, train_world

CASES, FIRST = int(os.environ.get("M2ASR_FUZZ", "0")), int(os.environ.get("M2ASR_FUZZ_SEED", "1"))
MEMORY = 500 << 10  # kB that a command may add to the memory of this process
TABLES, FEATURES = r"data/random/[^/]*", r"dump/random/[^/]*|dump/random/index/.*"
RUN_FILES = r"exp/(model.pt|config.yaml|fbank.yaml|tokens/.*)"
READERS = [  # a command line, and the files that it reads
    ("train", RUN["train"], rf"conf/train.yaml|{TABLES}|{FEATURES}|exp/(tokens/.*|checkpoints/.*|config.yaml|train.jsonl)"),
    ("train", f"{RUN['train'].replace('--exp exp', '--exp exp/two')} --set tokens={{}} objectives.asr.tokens=null", r"conf/train.yaml"),
    ("decode", RUN["decode"], rf"conf/decode.*|{TABLES}|{FEATURES}|{RUN_FILES}|exp/lm/.*|exp/decode_.*"),
    ("score", RUN["score"], rf"{TABLES}|exp/(decode_.*|train_info.json|results.json)"),
    ("compare", "a=exp b=exp", r"exp/(decode_.*|train_info.json|results.json)"),
    ("align", RUN["align"], rf"{TABLES}|{FEATURES}|{RUN_FILES}"),
    ("codes", f"{RUN['codes']} --codebook codes.npz".replace("--out codes.npz --clusters 2 ", ""), r"codes.npz|aligned/random/tokens.ctm"),
    ("average", "--exp exp --n 1", r"exp/checkpoints/.*"),
    ("plot", "--exp exp", r"exp/train.jsonl"),
    ("conflicts", "exp", r"exp/train.jsonl"),
    ("lm", "--text data/random lines.txt --words --out lm --order 2", rf"{TABLES}|lines.txt"),
    ("lm", "--arpa exp/lm/lm/it/lm.arpa.gz --out lm", r"exp/lm/lm/it/lm.arpa.gz"),
    ("search_models", RUN["search_models"], rf"conf/.*|{TABLES}|exp/tokens/.*|exp/lm/.*"),
    ("ablate", "--config conf/ablation.yaml --table --archive runs.tar.gz --expdir exp", r"conf/ablation.yaml|runs.tar.gz"),
    ("validate", "data/it --config conf/fbank.yaml --tokens exp/tokens/it", r"data/it/[^/]*|conf/fbank.yaml|exp/tokens/.*"),
    ("fix_data_dir", "data/it --lang it --check_wav --config conf/fbank.yaml", r"data/it/[^/]*"),
    ("combine_data", "data/both data/it data/random", r"data/[^/]*/[^/]*"),
    ("subset_data_dir", "data/it data/few --utt_list lines.txt", r"data/it/[^/]*|lines.txt"),
    ("phones", "data/random --how letters", TABLES),
    ("prepare_text", "lines.txt --lang it --out data/texts --without data/it", r"lines.txt|data/it/[^/]*"),
    ("tokens", "--config conf/train.yaml --data data --out exp/tokens", rf"conf/train.yaml|{TABLES}|exp/tokens/.*"),
    ("transcribe", "damaged.wav --exp exp --lang it --out texts", rf"{RUN_FILES}|exp/decode_.*|exp/lm/.*"),
]
WRITTEN = re.compile(r"exp/|aligned/|.*/(index|\.backup)/|.*/(text\.codes|utt2codes|\.m2asr)$|dump/|codes.npz")  # what commands may replace


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_world(make_world(tmp_path_factory.mktemp("fuzz") / "world"))


def test_damaged_files(world: Path) -> None:
    names = [name for name, content in contents(world).items() if isinstance(content, bytes)]
    for seed in range(FIRST, FIRST + max(10, CASES)):
        rng = random.Random(seed)
        module, line, pattern = rng.choice(READERS)
        read = [name for name in names if re.fullmatch(pattern, name)]
        case = [[rng.choice(read), rng.choice(WAYS), rng.random()] for _ in range(rng.choice([1, 1, 2]))]

        def wrong(case: list, module: str = module, line: str = line) -> str | None:
            copy = copy_world(world, world.with_name("copy"))
            for name, way, key in case:
                if not (copy / name).is_dir():
                    damage(copy, name, way, random.Random(key), names)
            before = {name: content for name, content in contents(copy).items() if not WRITTEN.match(name)}
            if module == "fix_data_dir":
                before = {}  # what it replaces is in .backup/, which its tests compare
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            problem = fault(call(module, line.split(), copy)) or lost(before, copy)
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
            return problem or (f"memory: {grown >> 10} MB" if grown > MEMORY else None)

        if found := wrong(case):
            kind = found.partition(":")[0]
            case = smallest(case, lambda fewer, kind=kind: all(len(part) == 3 for part in fewer) and (wrong(fewer) or "").startswith(kind))
            pytest.fail(f"seed {seed}: python -m m2asr.bin.{module} {line} with {case}: {wrong(case) or found}")
