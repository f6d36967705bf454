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
def test_options_that_do_not_fit_together_are_an_error(args, words):
    result = command("align", *args, "--exp", "exp/x")
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and all(word in result.stderr for word in words), result.stderr


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, mini_data: Path) -> Path:
    return trained_once(tmp_path_factory, mini_data)


@pytest.mark.slow
def test_data_directories(root, tmp_path):
    """From recordings and from stored features: the worst utterances are printed; those that cannot be aligned are named (exit code 1)."""
    tables = read_tables(root / "data/some_en")
    utts = sorted(tables["text"])
    tables["text"][utts[0]] = "böy"
    replace_data_dir(tmp_path / "bad_en", tables)
    result = command("align", tmp_path / "bad_en", root / "data/some_it", "--exp", root / "exp", "--out", tmp_path / "out", "--worst", 2)
    assert result.returncode == 1, result.stderr
    assert result.stderr == f"not aligned: {utts[0]}: letters that the tokenizer does not know, shown as ⁇: b⁇y\n"
    assert "bad_en: 5 of 6 utterances aligned" in result.stdout and "some_it: 6 of 6 utterances aligned" in result.stdout
    worst = [line.split()[0] for line in (tmp_path / "out/some_it/scores").read_text().splitlines()][:2]
    assert re.findall(r"^ +-\d+\.\d+  (\S+)", result.stdout, re.MULTILINE)[-2:] == worst
    assert {path.stem for path in (tmp_path / "out/bad_en/textgrid").iterdir()} == set(utts[1:])

    result = command("align", root / "data/some_it", "--exp", root / "exp", "--dump", root / "dump", "--out", tmp_path / "dumped")
    assert result.returncode == 0 and not result.stderr
    for name in ("words.ctm", "tokens.ctm", "scores"):
        assert (tmp_path / "dumped/some_it" / name).read_text() == (tmp_path / "out/some_it" / name).read_text()


@pytest.mark.slow
def test_a_recording(root, tmp_path):
    utt = "it_carlo-vm-cust2"
    wav, text = (read_table(root / "data/some_it" / name)[utt] for name in ("wav.scp", "text"))
    options = ("--exp", root / "exp", "--out", tmp_path, "--lang", "it", "--audio", wav)
    result = command("align", *options, "--text", text.title() + ".")
    assert result.returncode == 0, result.stderr
    assert [line.split()[-1] for line in result.stdout.splitlines()[:2]] == text.split()
    stem = Path(wav).stem
    assert [line.split()[4] for line in (tmp_path / stem / "words.ctm").read_text().splitlines()] == text.split()
    assert [row[2] for row in parse((tmp_path / stem / f"textgrid/{stem}.TextGrid").read_text())["words"] if row[2]] == text.split()
    result = command("align", *options, "--text", text * 20)
    assert result.returncode == 1 and "text too long" in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.slow
def test_missing_files_are_named(root, tmp_path):
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
        ((data, "--exp", root / "exp", "--out", root / "data"), "some_it: it holds a data directory, and an alignment would replace it"),
    ):
        result = command("align", "--out", tmp_path / "out", *args)
        assert result.returncode == 1 and message in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert (data / "wav.scp").is_file()


@pytest.mark.slow
def test_an_alignment_is_replaced_as_a_whole(root, tmp_path):
    data = root / "data/some_it"
    for formats, names in (("ctm", {"words.ctm", "tokens.ctm", "scores"}), ("textgrid", {"scores", "textgrid"})):
        result = command("align", data, "--exp", root / "exp", "--out", tmp_path, "--format", formats)
        assert result.returncode == 0 and {path.name for path in (tmp_path / "some_it").glob("[!.]*")} == names, result.stderr
