"""Wrong values of options, files of other kinds and errors of the system end in one line, at once."""

from __future__ import annotations

import importlib
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from m2asr.bin.command import run
from tests.conftest import ROOT, command

DECODE = ["--exp", "x", "--config", "egs/mini/conf/decode.yaml"]


def refused(module: str, *args: object, code: int | None = None) -> str:
    """The only line on stderr of a command that ends with an error; it runs in this process, which is faster."""
    errors = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    main = importlib.import_module(f"m2asr.bin.{module}").main
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(sys, "argv", [module, *map(str, args)])
        patch.setattr(sys, "stderr", errors)
        patch.chdir(ROOT)
        run(main)
    text = errors.buffer.getvalue().decode()
    assert end.value.code in ((1, 2) if code is None else (code,)), text
    assert text.startswith("error: ") and text.count("\n") == 1 and len(text) < 2000, text
    return text


@pytest.mark.parametrize(
    ("module", "args"),
    [
        ("train", ["--config", "x", "--exp", "x", "--threads", "-1"]),
        ("train", ["--config", "x", "--exp", "x", "--nproc", "9" * 30]),
        ("train", ["--config", "x", "--exp", "x", "--threads", "1000000000"]),
        ("prepare", ["mini", "--corpus", "x", "--max_bad", "-1"]),
        ("decode", ["dev_en", *DECODE, "--nj", "0"]),
        ("decode", ["dev_en", *DECODE, "--nj", "100000"]),
        ("align", ["x", "--exp", "x", "--threads", "100000"]),
        ("decode", ["dev_en", *DECODE, "--ngpu", "-1"]),
        ("decode", ["dev_en", *DECODE, "--ngpu", "9" * 5000]),
        ("align", ["x", "--exp", "x", "--batch_seconds", "nan"]),
        ("transcribe", ["x", "--exp", "x", "--longest", "nan"]),
        ("transcribe", ["x", "--exp", "x", "--pause", "inf"]),
        ("validate", ["x", "--frame_shift", "nan"]),
        ("average", ["--exp", "x", "--n", "1.5"]),
        ("score", ["--exp", "x", "--min_words", "-3"]),
    ],
)
def test_numbers_of_options(module: str, args: list[str]) -> None:
    option = next(word for word in reversed(args) if word.startswith("--"))
    assert option in refused(module, *args, code=2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    ("module", "args"),
    [("decode", ["dev_en", *DECODE]), ("align", ["x", "--exp", "x"]), ("transcribe", ["x", "--exp", "x"]), ("experts", ["x"])],
)
def test_a_gpu_that_is_not_there(module: str, args: list[str]) -> None:
    assert "--ngpu 1: no GPU is visible here" in refused(module, *args, "--ngpu", 1, code=2)


@pytest.mark.parametrize(
    "option", ["--decode_config=", "--expdir=README.md", "--expdir=", "--dump=README.md", "--decode_config=conf", "--tag="]
)
def test_options_of_recipes(option: str, tmp_path: Path) -> None:
    recipe = ROOT / "egs/librispeech"
    done = subprocess.run(["./run.sh", option, "--dry_run"], cwd=recipe, capture_output=True, text=True)
    if option == "--tag=":  # means the default
        assert done.returncode == 0
        return
    assert done.returncode == 2 and option.partition("=")[0] in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_a_closed_or_full_standard_output_ends_cleanly(small_data: Path) -> None:
    line = f"{sys.executable} -m m2asr.bin.validate {small_data}"
    closed = subprocess.run(["bash", "-c", f"{line} >&-"], cwd=ROOT, capture_output=True, text=True)
    assert closed.returncode == 0 and closed.stderr == ""
    full = subprocess.run(["bash", "-c", f"{line} >/dev/full"], cwd=ROOT, capture_output=True, text=True)
    assert full.returncode == 1 and full.stderr.startswith("error: cannot write standard output: No space left"), full.stderr
    assert full.stderr.count("\n") == 1
    both = subprocess.run(["bash", "-c", f"{line} >/dev/full 2>/dev/full"], cwd=ROOT)
    assert both.returncode == 1


def test_errors_of_the_system_are_one_line(tmp_path: Path, small_data: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path / ("x" * 300), tmp_path / "file/data", tmp_path / "loop", tmp_path / "a\nb" / ("y" * 4000)):
        refused("validate", path)
        refused("subset_data_dir", "--first", 2, path, tmp_path / "out")
        if path.name != "loop":
            refused("subset_data_dir", "--first", 2, small_data, path)
        refused("fbank", "dev_en", "--config", path)
        refused("average", "--exp", path)


def test_tables_that_are_folders_or_pipes(small_data: Path, tmp_path: Path) -> None:
    (small_data / "text").unlink()
    (small_data / "text").mkdir()
    assert "small/text" in refused("combine_data", tmp_path / "out", small_data)
    (small_data / "text").rmdir()
    os.mkfifo(small_data / "text")
    start = time.monotonic()
    assert "it is a pipe or a device" in refused("combine_data", tmp_path / "out", small_data)
    assert "it is a pipe or a device" in refused("fbank", "x", "--config", small_data / "text")
    os.mkfifo(tmp_path / "lines.txt")
    assert "it is a pipe or a device" in refused("prepare_text", tmp_path / "lines.txt", "--lang", "it", "--out", tmp_path / "texts")
    assert time.monotonic() - start < 100
    line = f"{sys.executable} -m m2asr.bin.prepare_text <(echo buongiorno a tutti) --lang it --out {tmp_path / 'texts'}"
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "1 sentences" in done.stdout, done.stderr


WRONG = json.dumps(dict.fromkeys(("set", "lang", "source", "task", "text", "objective"), 3))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"set": "x"}', "[" * 100_000, '{"set": 1e999', "\0", WRONG])
def test_json_files_that_are_empty_or_cut(text: str, tmp_path: Path) -> None:
    out = tmp_path / "exp/decode_greedy/test_en/asr"
    out.mkdir(parents=True)
    (out / "info.json").write_text(text)
    assert "info.json: damaged" in refused("score", "--exp", tmp_path / "exp")
    (out / "info.json").write_text(json.dumps({"set": "x"}))


@pytest.mark.parametrize(
    "text",
    [
        "a: !!int x\n",
        "a: !!timestamp 2024-13-45\n",
        "a: " + "[" * 3000 + "]" * 3000,
        "a: &a [x, x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9)),
        "a: &a [*a]\n",
        "? [x]\n: y\n",
        "a: !!python/object:os.system x\n",
        "a: \0\n",
        "a: !!binary '???'\n",
        "a: " + "9" * 10_000 + "\n",
        "<<: 3\n",
        "x" * 200_000,
        "&a a: *b\n",
    ],
)
def test_yaml_that_is_broken_in_unusual_ways(text: str, tmp_path: Path) -> None:
    (tmp_path / "fbank.yaml").write_text(text)
    start = time.monotonic()
    assert "fbank.yaml" in refused("fbank", "x", "--config", tmp_path / "fbank.yaml")
    assert time.monotonic() - start < 50


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    done = command("validate", os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
    assert done.returncode == 2 and "Traceback" not in done.stderr + done.stdout
