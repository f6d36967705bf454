from __future__ import annotations

import os
from pathlib import Path

import pytest

from m2asr.data.combine import combine
from m2asr.data.directory import read_table, read_tables, write_table
from m2asr.data.fix import fix
from m2asr.data.subset import subset
from m2asr.data.validate import validate
from m2asr.errors import UserError
from tests.data.test_validate import SPOILED, change, value

BEYOND = ("speaker", "no file")  # only the preparation knows
KEEPS_ALL = ("unsorted", "raw text", "contradiction", "twice", "windows", "strange line", "strange translation", "no id", "latin-1")
KEEPS_ALL += ("mark", "joined", "utf-16", "lost line")


@pytest.mark.parametrize("name", SPOILED)
def test_what_can_be_mended_is_clean_then(name: str, small_data: Path) -> None:
    before = list(read_table(small_data / "utt2spk"))
    SPOILED[name][0](small_data)
    if name == "command":
        with pytest.raises(UserError, match="--allow_pipes"):
            fix(small_data, check_wav=True)
        return
    _, report = fix(small_data, check_wav=True)
    assert report.clean == (name not in BEYOND)
    assert validate(small_data, keep_long_text=True).clean == report.clean
    remaining = list(read_table(small_data / "utt2spk"))
    assert set(remaining) <= set(before)
    assert len(remaining) == len(before) - (name not in (*KEEPS_ALL, *BEYOND, "cut table"))


def test_nothing_that_was_there_is_lost(small_data: Path) -> None:
    (small_data / "spk2gender").write_text("it_carlo m\n")
    change("text", lambda lines: [*lines[::-1], "zz-1 boh\n"])(small_data)
    *_, (utt, seconds) = read_table(small_data / "utt2dur").items()
    change("utt2dur", lambda lines: lines[:-1])(small_data)
    before = {path.name: path.read_bytes() for path in small_data.iterdir()}
    summary, _ = fix(small_data)
    assert {path.name: path.read_bytes() for path in (small_data / ".backup").iterdir()} == before
    assert (small_data / "spk2gender").read_text() == "it_carlo m\n"
    assert "12 utterances kept, 1 lines or utterances dropped" in summary
    assert "zz-1: is in text but not in utt2spk" in summary
    assert read_table(small_data / "utt2dur") == read_table(small_data / ".backup/utt2dur") | {utt: seconds}  # measured again


def test_a_clean_directory_stays_as_it_is(small_data: Path) -> None:
    before = read_tables(small_data)
    summary, report = fix(small_data)
    assert report.clean and "12 utterances kept, 0 lines" in summary and read_tables(small_data) == before


def test_recordings_are_read_only_on_demand(small_data: Path) -> None:
    SPOILED["lost recording"][0](small_data)
    assert "12 utterances kept" in fix(small_data)[0]
    summary, _ = fix(small_data, check_wav=True)
    assert "11 utterances kept" in summary and "cannot read this recording: No such file" in summary


def test_a_bad_recording_takes_its_segments_along(small_data: Path) -> None:
    (good, wav), *_ = read_table(small_data / "wav.scp").items()
    utts = list(read_table(small_data / "utt2spk"))
    write_table(small_data / "wav.scp", {"call1": wav, "call2": "/nowhere/x.wav"})
    write_table(small_data / "segments", {utt: f"call{1 + n % 2} 0 0.5" for n, utt in enumerate(utts)})
    write_table(small_data / "utt2dur", dict.fromkeys(utts, "0.5"))
    _, report = fix(small_data, check_wav=True)
    assert report.clean
    assert list(read_table(small_data / "utt2spk")) == utts[::2] and list(read_table(small_data / "wav.scp")) == ["call1"]


def test_where_nothing_would_be_left_nothing_is_changed(small_data: Path) -> None:
    write_table(small_data / "utt2lang", {"zz-1": "it"})
    before = {path.name: path.read_bytes() for path in small_data.iterdir()}
    with pytest.raises(UserError, match="no utterance would be left .*has no utt2lang.*, nothing was changed"):
        fix(small_data)
    assert {path.name: path.read_bytes() for path in small_data.iterdir()} == before
    assert [path.name for path in small_data.parent.iterdir()] == [small_data.name]


def test_what_is_no_data_directory_is_told(small_data: Path) -> None:
    (small_data / "utt2spk").unlink()
    for path, message in ((small_data, "utt2spk is missing"), (small_data / "nowhere", "no such data directory")):
        with pytest.raises(UserError, match=message):
            fix(path)


def test_sources_are_checked_mended_and_kept(small_data: Path, tmp_path: Path) -> None:
    """utt2source tells of every utterance what it comes from, in parts and joined sets as well."""
    utts = list(read_table(small_data / "utt2spk"))
    write_table(small_data / "utt2source", {utt: f"s{number % 2}" for number, utt in enumerate(utts[1:])})
    assert "has no line in utt2source" in str(validate(small_data, audio=False))
    assert "11 utterances kept" in fix(small_data)[0] and validate(small_data, audio=False).clean
    for name, keep in (("one", utts[1:6]), ("two", utts[6:])):
        subset(small_data, tmp_path / name, keep)
    combine([tmp_path / "one", tmp_path / "two"], tmp_path / "both")
    assert read_table(tmp_path / "both/utt2source") == read_table(small_data / "utt2source")


def test_a_text_set_is_divided_joined_and_mended(tmp_path: Path) -> None:
    """It has neither recordings nor speakers."""
    (tmp_path / "texts").mkdir()
    langs = "".join(f"a-{number} it\n" for number in range(1, 5))
    lines = {"text": "a-2 due\na-1 Uno!\na-3 tre\n", "text.phones": "a-1 u n o\na-2 d u e\n", "utt2lang": langs}
    for name, content in lines.items():
        (tmp_path / "texts" / name).write_text(content)
    assert "fix_data_dir" in str(validate(tmp_path / "texts"))
    summary, report = fix(tmp_path / "texts")
    assert report.clean and validate(tmp_path / "texts").clean and "a-4: has no text" in summary
    assert read_table(tmp_path / "texts/text") == {"a-1": "uno", "a-2": "due", "a-3": "tre"}
    assert subset(tmp_path / "texts", tmp_path / "first", 1) == 1 and subset(tmp_path / "texts", tmp_path / "rest", ["a-2", "a-3"]) == 2
    assert combine([tmp_path / "first", tmp_path / "rest"], tmp_path / "all") == 3
    assert read_tables(tmp_path / "all") == read_tables(tmp_path / "texts") and validate(tmp_path / "all").clean
    assert not (tmp_path / "all/spk2utt").exists()


@pytest.mark.parametrize("segmented", [False, True])
def test_a_directory_of_kaldi_gets_the_files_that_it_lacks(small_data: Path, segmented: bool) -> None:
    before = {name: read_table(small_data / name) for name in ("utt2dur", "utt2lang")}
    if segmented:
        wavs = read_table(small_data / "wav.scp")
        write_table(small_data / "wav.scp", {f"{utt}-call": wav for utt, wav in wavs.items()})
        spans = [f"0 {before['utt2dur'][utt]}" if number % 2 else "0 -1" for number, utt in enumerate(wavs)]
        write_table(small_data / "segments", {utt: f"{utt}-call {span}" for utt, span in zip(wavs, spans, strict=True)})
    for name in ("utt2dur", "utt2lang", "spk2utt"):
        (small_data / name).unlink()
    assert f"fix_data_dir --lang CODE {small_data} makes spk2utt, utt2dur, utt2lang" in str(validate(small_data))
    _, report = fix(small_data, lang="it")
    assert report.clean and {name: read_table(small_data / name) for name in before} == before
    assert validate(small_data).clean


def test_what_is_known_stays_and_commands_do_not_run_unasked(small_data: Path) -> None:
    change("utt2lang", lambda lines: lines[:6])(small_data)
    fix(small_data, lang="en-GB")
    assert [*read_table(small_data / "utt2lang").values()] == ["it"] * 6 + ["en-GB"] * 6
    (utt, wav), *_ = read_table(small_data / "wav.scp").items()
    value("wav.scp", 1, f"cat {wav} |")(small_data)
    change("utt2dur", lambda lines: lines[1:])(small_data)
    with pytest.raises(UserError, match="to measure what a command writes it must run; give --allow_pipes"):
        fix(small_data)
    fix(small_data, allow_pipes=True)
    assert len(read_table(small_data / "utt2dur")) == 12


def test_texts_alone_get_their_language(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a-1 Hello!\na-2 world\n")
    assert fix(tmp_path, lang="en")[1].clean
    assert read_tables(tmp_path) == {"text": {"a-1": "hello", "a-2": "world"}, "utt2lang": {"a-1": "en", "a-2": "en"}}


def test_links_that_lead_nowhere_are_dropped_and_told(small_data: Path) -> None:
    (small_data / "spk2utt").unlink()
    for name, target in {"spk2utt": "nowhere", "spk2age": "spk2age"}.items():
        (small_data / name).symlink_to(target)
    summary, report = fix(small_data)
    assert "spk2utt: a link that leads nowhere" in summary and "spk2age: a link that leads nowhere" in summary
    assert report.clean and "12 utterances kept, 2 lines or utterances dropped" in summary
    assert not (small_data / "spk2utt").is_symlink() and not (small_data / "spk2age").is_symlink()


def test_what_cannot_be_copied_is_told_and_nothing_is_changed(small_data: Path) -> None:
    os.mkfifo(small_data / "talk")
    before = sorted(path.name for path in small_data.iterdir())
    with pytest.raises(UserError, match="talk: cannot be copied, so nothing was changed: .*named pipe"):
        fix(small_data)
    assert sorted(path.name for path in small_data.iterdir()) == before
