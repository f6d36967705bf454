"""Real speech for the tests, prepared once per session by the commands a user calls."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests import forked
from tests.forked import ROOT

CORPUS = ROOT / "egs/mini/corpus"

signal.signal(signal.SIGINT, signal.default_int_handler)  # tests started in the background would pass on that Ctrl-C is ignored


def command(module: str, *args: object) -> subprocess.CompletedProcess[str]:
    """Run `python -m m2asr.bin.<module>` as a user does, in a process of its own."""
    return forked.run(f"m2asr.bin.{module}", *args)


@pytest.fixture(scope="session")
def mini_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the mini corpus's data directories: {train,dev,test}_{en,it,ru}."""
    data = tmp_path_factory.mktemp("mini") / "data"
    done = command("prepare", "mini", "--corpus", CORPUS, "--out", data)
    assert done.returncode == 0, done.stderr
    return data


@pytest.fixture(scope="session")
def mini_dump(mini_data: Path) -> Path:
    """The folder of the features of train_en and dev_en, two ark files each."""
    dump = mini_data.parent / "dump"
    config = ROOT / "egs/mini/conf/fbank.yaml"
    done = command("fbank", "--config", config, "--nj", 2, "--data", mini_data, "--dump", dump, "train_en", "dev_en")
    assert done.returncode == 0, done.stderr
    return dump


@pytest.fixture(scope="session")
def twelve(mini_data: Path) -> Path:
    """A clean data directory of 12 utterances."""
    small = mini_data.parent / "small"
    done = command("subset_data_dir", "--first", 12, mini_data / "dev_it", small)
    assert done.returncode == 0, done.stderr
    return small


@pytest.fixture
def small_data(twelve: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may spoil."""
    return Path(shutil.copytree(twelve, tmp_path / "small"))
