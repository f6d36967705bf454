"""python -m m2asr.bin.align as a user calls it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from m2asr.data.directory import read_table, read_tables, replace_data_dir
from tests.conftest import command
from tests.decode.test_textgrid import parse
from tests.decode.trained import trained_once


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), ["data directories or --audio"]),
        (("data/x", "--audio", "x.wav", "--text", "a", "--lang", "en"), ["data directories or --audio"]),
        (("--audio", "x.wav", "--text", "a"), ["--text and --lang"]),
        (("data/x", "--lang", "en"), ["belong to --audio"]),
        (("data/x", "--format", "srt"), ["'srt'", "textgrid"]),
        (("data/x", "--batch_seconds", "0"), ["--batch_seconds"]),
    ],
)
def test_options_that_do_not_fit_are_told(args, words):
    done = command("align", *args, "--exp", "exp/x")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and all(word in done.stderr for word in words), done.stderr


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, mini_data: Path) -> Path:
    return trained_once(tmp_path_factory, mini_data)


@pytest.mark.slow
def test_data_directories(root, tmp_path):
    """From recordings and from stored features; the worst are printed; what cannot be aligned is told, and the exit code is 1."""
    tables = read_tables(root / "data/some_en")
    utts = sorted(tables["text"])
    tables["text"][utts[0]] = "böy"
    replace_data_dir(tmp_path / "bad_en", tables)
    done = command("align", tmp_path / "bad_en", root / "data/some_it", "--exp", root / "exp", "--out", tmp_path / "out", "--worst", 2)
    assert done.returncode == 1, done.stderr
    assert done.stderr == f"not aligned: {utts[0]}: letters that the tokenizer does not know, shown as ⁇: b⁇y\n"
    assert "bad_en: 5 of 6 utterances aligned" in done.stdout and "some_it: 6 of 6 utterances aligned" in done.stdout
    worst = [line.split()[0] for line in (tmp_path / "out/some_it/scores").read_text().splitlines()][:2]
    assert re.findall(r"^ +-\d+\.\d+  (\S+)", done.stdout, re.MULTILINE)[-2:] == worst
    assert {path.stem for path in (tmp_path / "out/bad_en/textgrid").iterdir()} == set(utts[1:])

    done = command("align", root / "data/some_it", "--exp", root / "exp", "--dump", root / "dump", "--out", tmp_path / "dumped")
    assert done.returncode == 0 and not done.stderr
    for name in ("words.ctm", "tokens.ctm", "scores"):
        assert (tmp_path / "dumped/some_it" / name).read_text() == (tmp_path / "out/some_it" / name).read_text()


@pytest.mark.slow
def test_one_recording(root, tmp_path):
    utt = "it_carlo-vm-cust2"
    wav, text = (read_table(root / "data/some_it" / name)[utt] for name in ("wav.scp", "text"))
    options = ("--exp", root / "exp", "--out", tmp_path, "--lang", "it", "--audio", wav)
    done = command("align", *options, "--text", text.title() + ".")
    assert done.returncode == 0, done.stderr
    assert [line.split()[-1] for line in done.stdout.splitlines()[:2]] == text.split()
    stem = Path(wav).stem
    assert [line.split()[4] for line in (tmp_path / stem / "words.ctm").read_text().splitlines()] == text.split()
    assert [row[2] for row in parse((tmp_path / stem / f"textgrid/{stem}.TextGrid").read_text())["words"] if row[2]] == text.split()
    done = command("align", *options, "--text", text * 20)
    assert done.returncode == 1 and "text too long" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_what_is_missing_is_told(root, tmp_path):
    exp = tmp_path / "exp"
    exp.mkdir()
    for name in ("model.pt", "tokens"):
        (exp / name).symlink_to(root / "exp" / name)
    data = root / "data/some_it"
    for args, message in (
        ((data, "--exp", exp), "fbank.yaml: no such file, an older run did not write it"),
        ((data, "--exp", tmp_path), "no trained model"),
        ((tmp_path / "none", "--exp", root / "exp"), "none"),
        ((data, "--exp", root / "exp", "--dump", tmp_path), "no features"),
        ((data, "--exp", root / "exp", "--out", root / "data"), "some_it: this folder exists and holds no alignment"),
    ):
        done = command("align", "--out", tmp_path / "out", *args)
        assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert (data / "wav.scp").is_file()


@pytest.mark.slow
def test_an_alignment_is_replaced_as_a_whole(root, tmp_path):
    data = root / "data/some_it"
    for formats, names in (("ctm", {"words.ctm", "tokens.ctm", "scores"}), ("textgrid", {"scores", "textgrid"})):
        done = command("align", data, "--exp", root / "exp", "--out", tmp_path, "--format", formats)
        assert done.returncode == 0 and {path.name for path in (tmp_path / "some_it").iterdir()} == names, done.stderr
