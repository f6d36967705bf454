from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from m2asr.config import FbankConfig
from m2asr.data.audio import audio_seconds
from m2asr.data.directory import read_table, write_table
from m2asr.data.fix import fix
from m2asr.data.index import UtteranceIndex
from m2asr.data.validate import validate
from m2asr.errors import UserError


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


def change(name: str, edit: Callable[[list[str]], list[str]]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text("".join(edit(lines_of(folder / name))), encoding="utf-8")


def value(name: str, number: int, new: str) -> Callable[[Path], object]:
    """Replace the value in a line (from 1)."""
    return change(name, lambda lines: [*lines[: number - 1], f"{lines[number - 1].split()[0]} {new}\n", *lines[number:]])


def sound(name: str, rate: int, seconds: float, keep: float = 1.0) -> Callable[[Path], object]:
    """Put a recording of one's own into line 3."""

    def spoil(folder: Path) -> None:
        path = folder.parent / name
        soundfile.write(path, np.zeros(int(rate * seconds)), rate)
        path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
        value("wav.scp", 3, str(path))(folder)
        value("utt2dur", 3, str(seconds))(folder)

    return spoil


def floats(name: str, wrong: float) -> Callable[[Path], object]:
    """Put a recording of floats into line 3, one of which is wrong."""

    def spoil(folder: Path) -> None:
        wave = np.zeros(32000, dtype=np.float32)
        wave[8000] = wrong
        soundfile.write(folder.parent / name, wave, 16000, subtype="FLOAT")
        value("wav.scp", 3, str(folder.parent / name))(folder)
        value("utt2dur", 3, "2")(folder)

    return spoil


SPOILED = {
    # name: (spoil, kind of problem, start of its first example, after the folder)
    "unsorted": (change("text", lambda lines: [lines[1], lines[0], *lines[2:]]), "not sorted", "text:2: {0}: "),
    "twice": (change("utt2lang", lambda lines: [*lines[:3], *lines[2:]]), "duplicate id", "utt2lang:4: {2}: has a line already, line 3"),
    "lost line": (change("utt2dur", lambda lines: lines[:4] + lines[5:]), "missing id", "utt2spk:5: {4}: has no line in utt2dur"),
    "strange line": (change("text", lambda lines: [*lines, "zz-1 boh\n"]), "unknown id", "text:13: zz-1: is not in utt2spk"),
    "strange translation": (change("text.en", lambda lines: [*lines, "zz-1 Well.\n"]), "unknown id", "text.en:"),
    "no id": (change("text", lambda lines: [*lines[:2], "\n", *lines[2:]]), "malformed line", "text:3: -: write `id value`"),
    "windows": (change("text", lambda lines: [line.replace("\n", "\r\n") for line in lines]), "malformed line", "text:1: {0}: "),
    "cut table": (lambda folder: (folder / "text").write_bytes((folder / "text").read_bytes()[:-4]), "cut off", "text:12: -: "),
    "latin-1": (lambda folder: (folder / "text").write_bytes(b"\xe8 \xe8\n" + (folder / "text").read_bytes()), "not UTF-8", "text:1: "),
    "empty text": (value("text", 2, ""), "empty text", "text:2: {1}: there are no words"),
    "raw text": (value("text", 2, "Ciao, mondo!"), "text not normalized", "text:2: {1}: `Ciao, mondo!` should be `ciao mondo`"),
    "no number": (value("utt2dur", 6, "soon"), "bad duration", "utt2dur:6: {5}: `soon`"),
    "infinite": (value("utt2dur", 6, "inf"), "bad duration", "utt2dur:6: {5}: `inf`"),
    "negative": (value("utt2dur", 6, "-1"), "bad duration", "utt2dur:6: {5}: `-1`"),
    "wrong length": (value("utt2dur", 6, "19.5"), "wrong duration", "utt2dur:6: {5}: 19.5 s here, its recording has "),
    "language": (value("utt2lang", 7, "Italian"), "bad language", "utt2lang:7: {6}: `Italian`"),
    "speaker": (value("utt2spk", 1, "zoe"), "id without speaker", "utt2spk:1: {0}: does not begin with its speaker zoe"),
    "no speaker": (value("utt2spk", 1, ""), "bad speaker", "utt2spk:1: {0}: give one speaker"),
    "contradiction": (change("spk2utt", lambda lines: [lines[0].rsplit(" ", 1)[0] + "\n"]), "contradiction", "spk2utt:1: it_carlo: "),
    "lost recording": (value("wav.scp", 3, "/nowhere/x.wav"), "unreadable audio", "wav.scp:3: {2}: /nowhere/x.wav: cannot read"),
    "command": (value("wav.scp", 3, "rm -rf x |"), "unreadable audio", "wav.scp:3: {2}: `rm -rf x |`: commands in wav.scp run only with"),
    "truncated": (sound("cut.wav", 16000, 2.0, keep=0.5), "unreadable audio", "wav.scp:3: {2}: "),
    "no numbers": (floats("nan.wav", np.nan), "unreadable audio", "wav.scp:3: {2}: "),
    "endless": (floats("inf.wav", -np.inf), "unreadable audio", "wav.scp:3: {2}: "),
    "no sound": (floats("huge.wav", 1e30), "unreadable audio", "wav.scp:3: {2}: "),
    "short": (sound("short.wav", 16000, 0.02), "too short", "wav.scp:3: {2}: 0.020 s are shorter than a window of 25 ms"),
    "mark": (change("utt2spk", lambda lines: ["\ufeff", *lines]), "byte order mark", "utt2spk:1: -: 1 lines"),
    "joined": (change("text", lambda lines: [*lines[:5], "\ufeff" + lines[5], *lines[6:]]), "byte order mark", "text:1: -: 1 lines"),
    "utf-16": (lambda folder: (folder / "text").write_text((folder / "text").read_text(), "utf-16"), "byte order mark", "text:1: -: "),
    "slow": (sound("slow.wav", 8000, 2.0), "sample rate", "wav.scp:3: {2}: 8000 Hz is below the 16000 Hz of the features"),
    "too long": (value("utt2dur", 6, "0.05"), "text too long", "text:6: {5}: "),
    "no file": (lambda folder: (folder / "utt2lang").unlink(), "missing file", "utt2lang: -: there is no such file"),
}


def test_what_the_preparation_writes_is_clean(small_data: Path) -> None:
    report = validate(small_data)
    assert report.clean and str(report) == f"{small_data}: 12 utterances, no problem"


@pytest.mark.parametrize("name", SPOILED)
def test_every_fault_is_reported_with_file_and_line(name: str, small_data: Path) -> None:
    spoil, kind, example = SPOILED[name]
    utts = list(read_table(small_data / "utt2spk"))
    spoil(small_data)
    report = validate(small_data)
    assert not report.clean and kind in report.problems
    assert str(report.problems[kind][0]).startswith(f"{small_data}/{example.format(*utts)}")
    assert "\n" not in str(report.problems[kind][0]) and str(report.problems[kind][0]) in str(report)


def test_all_faults_are_reported_together(small_data: Path) -> None:
    for name in ("unsorted", "raw text", "language", "lost recording", "strange translation"):
        SPOILED[name][0](small_data)
    report = validate(small_data)
    assert {SPOILED[name][1] for name in ("raw text", "language", "lost recording", "strange translation")} <= set(report.problems)
    assert f"repair it with: python -m m2asr.bin.fix_data_dir {small_data}" in str(report)
    assert f"fix_data_dir --check_wav {small_data}" in str(report)


def test_of_many_faults_three_are_shown_and_all_counted(small_data: Path) -> None:
    change("utt2lang", lambda lines: [line.replace(" it", " ??") for line in lines])(small_data)
    text = str(validate(small_data))
    assert "bad language: 12" in text and text.count("is not a language code") == 3 and "... and 9 more" in text


def test_segments_must_lie_inside_their_recording(small_data: Path) -> None:
    (recording, wav), (second, _), *_ = read_table(small_data / "wav.scp").items()
    seconds = float(read_table(small_data / "utt2dur")[recording])
    utts = list(read_table(small_data / "utt2spk"))[:4]
    for name in ("text", "utt2spk", "utt2lang"):
        write_table(small_data / name, {utt: line for utt, line in read_table(small_data / name).items() if utt in utts})
    for path in small_data.glob("text.*"):
        path.unlink()
    write_table(small_data / "spk2utt", {"it_carlo": " ".join(utts)})
    write_table(small_data / "wav.scp", {recording: wav, "unused": wav})
    segments = [f"{recording} 0 {seconds}", f"{recording} 0.1 {seconds + 1}", f"{recording} 0.5 0.5", "nowhere 0 1"]
    write_table(small_data / "segments", dict(zip(utts, segments, strict=True)))
    write_table(small_data / "utt2dur", dict(zip(utts, (str(seconds), str(seconds + 0.9), "9", "1"), strict=True)))
    report = validate(small_data, keep_long_text=True)
    assert [problem.utt for problem in report.problems["bad segment"]] == utts[2:]
    assert [problem.utt for problem in report.problems["segment outside"]] == [utts[1]]
    assert f"that stay bad with: python -m m2asr.bin.fix_data_dir --check_wav {small_data}" in str(report)  # it must know the recording
    assert "wrong duration" not in report.problems
    assert [problem.utt for problem in report.problems["unused recording"]] == ["unused"]


def test_speakers_must_be_sorted_as_utterances_are(small_data: Path) -> None:
    """Kaldi compares utt2spk with `sort -k2` of itself."""
    utt2spk = {"a-b-1": "a-b", "a-c": "a", "a-d": "a"}
    write_table(small_data / "utt2spk", utt2spk)
    report = validate(small_data, audio=False)
    assert [problem.utt for problem in report.problems["id without speaker"]] == ["a-c", "a-d"]


def test_tokens_and_subsampling_decide_what_is_too_long(small_data: Path) -> None:
    assert validate(small_data, tokenize=str.split).clean
    assert not validate(small_data, subsampling=64).clean
    assert validate(small_data, subsampling=64, keep_long_text=True).clean
    value("text", 1, "a a a")(small_data)
    value("utt2dur", 1, "0.12")(small_data)  # three states
    report = validate(small_data, audio=False, tokenize=str.split)  # equal neighbours need a blank between them
    assert "3 tokens need 5 encoder states, 0.12 s give 3" in str(report)


def test_recordings_and_text_are_left_out_on_demand(small_data: Path) -> None:
    SPOILED["lost recording"][0](small_data)
    (small_data / "text").unlink()
    assert validate(small_data, audio=False, text=False).clean


def test_commands_are_run_on_demand(small_data: Path) -> None:
    (utt, wav), *_ = read_table(small_data / "wav.scp").items()
    value("wav.scp", 1, f"cat {wav} |")(small_data)
    assert validate(small_data, allow_pipes=True).clean and not validate(small_data).clean


def test_recordings_below_the_rate_of_the_features_are_told(small_data: Path) -> None:
    assert len(validate(small_data, fbank=FbankConfig(sample_rate=22050)).problems["sample rate"]) == 12


def test_an_empty_set_is_not_clean_and_a_missing_one_cannot_be_read(small_data: Path) -> None:
    for path in small_data.iterdir():
        path.write_text("")
    assert not validate(small_data).clean
    with pytest.raises(UserError, match="no such data directory") as error:
        validate(small_data / "nowhere")
    assert error.value.exit_code == 2


def test_higher_sample_rates_are_clean_as_fbank_resamples_them(small_data: Path) -> None:
    for number, rate in ((3, 44100), (4, 22050)):
        path = small_data.parent / f"{rate}.wav"
        soundfile.write(path, np.zeros(2 * rate), rate)
        value("wav.scp", number, str(path))(small_data)
        value("utt2dur", number, "2")(small_data)
    assert validate(small_data, keep_long_text=True).clean
    before = read_table(small_data / "utt2spk")
    fix(small_data, check_wav=True)
    assert read_table(small_data / "utt2spk") == before


def test_a_segment_may_go_to_the_end_of_its_recording(small_data: Path) -> None:
    """As -1 says in Kaldi; every part reads it alike."""
    wavs = read_table(small_data / "wav.scp")
    lengths = {utt: audio_seconds(wav) for utt, wav in wavs.items()}
    write_table(small_data / "segments", {utt: f"{utt} 0.25 -1" for utt in wavs})
    write_table(small_data / "utt2dur", {utt: f"{seconds - 0.25:.3f}" for utt, seconds in lengths.items()})
    assert validate(small_data, keep_long_text=True).clean
    assert fix(small_data, check_wav=True)[1].clean and len(read_table(small_data / "utt2spk")) == 12
    index = UtteranceIndex(small_data)
    assert all(len(index.audio(i)[0]) == pytest.approx(16000 * (lengths[index.utt_ids(i)] - 0.25), abs=1) for i in range(12))
    value("utt2dur", 2, "9")(small_data)
    assert [problem.utt for problem in validate(small_data).problems["wrong duration"]] == [list(wavs)[1]]


def test_a_channel_is_chosen_by_the_config_or_by_the_segments(small_data: Path) -> None:
    left, right = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 32000)).astype(np.float32)
    soundfile.write(small_data.parent / "two.wav", np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    value("wav.scp", 3, str(small_data.parent / "two.wav"))(small_data)
    value("utt2dur", 3, "2")(small_data)
    (problem,) = validate(small_data, keep_long_text=True).problems["unreadable audio"]
    assert "2 channels; set `channel: mix`" in problem.message
    for channel in ("mix", 0):
        assert validate(small_data, keep_long_text=True, fbank=FbankConfig(channel=channel)).clean
    assert not validate(small_data, fbank=FbankConfig(channel=2)).clean
    index, utts = UtteranceIndex(small_data), list(read_table(small_data / "wav.scp"))
    assert np.allclose(index.audio(2, "mix")[0], (left + right) / 2) and np.array_equal(index.audio(2, 1)[0], right)
    write_table(small_data / "segments", {utt: f"{utt} 0 -1" + " 1" * (number == 2) for number, utt in enumerate(utts)})
    assert validate(small_data, keep_long_text=True).clean
    assert np.array_equal(UtteranceIndex(small_data).audio(2)[0], right)


def code_tables(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """text.codes and utt2codes that fit the audio of a set."""
    counts = {utt: round(float(seconds) / 0.08) for utt, seconds in read_table(folder / "utt2dur").items()}
    return {utt: "c001 c002" for utt in counts}, {utt: f"{count} 0.08 abcd" for utt, count in counts.items()}


def test_codes_that_fit_their_audio_are_clean_and_may_be_missing(small_data: Path) -> None:
    codes, lengths = code_tables(small_data)
    first = next(iter(codes))
    del codes[first], lengths[first]
    write_table(small_data / "text.codes", codes)
    assert validate(small_data, audio=False, keep_long_text=True).clean  # codes from elsewhere
    write_table(small_data / "utt2codes", lengths)
    assert validate(small_data, audio=False, keep_long_text=True).clean


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("utt2codes", "99 0.08 abcd", "99 codes cover 7.92 s, its audio has"),
        ("utt2codes", "2 0.08 abcd", "2 codes cover 0.16 s, its audio has"),
        ("utt2codes", "{count} 0.08 efgh", "its codes are of the codebook efgh, those before of abcd"),
        ("utt2codes", "many 0.08 abcd", "write `utterance count seconds codebook`"),
        ("utt2codes", "{count} 0.08", "write `utterance count seconds codebook`"),
        ("utt2codes", None, "has no line in utt2codes"),
        ("text.codes", None, "codes here, 0 without repeats in text.codes"),
        ("text.codes", "c001 c002 " * 90, "codes here, 180 without repeats in text.codes"),
    ],
)
def test_codes_of_other_audio_or_another_codebook_are_named(small_data: Path, name: str, value: str | None, told: str) -> None:
    tables = dict(zip(("text.codes", "utt2codes"), code_tables(small_data), strict=True))
    for utt in sorted(tables[name], key=str.encode)[4:6]:
        count = tables["utt2codes"].get(utt, "").split()[0]
        tables[name][utt] = value.format(count=count) if value else ""
        if value is None:
            del tables[name][utt]
    for file, table in tables.items():
        write_table(small_data / file, table)
    report = validate(small_data, audio=False, keep_long_text=True)
    problems = report.problems["wrong codes"]
    assert len(problems) == 2 and all(told in problem.message for problem in problems) and not report.clean
    assert "wrong codes: 2\n" in str(report) and str(report).endswith("or remove text.codes and utt2codes")
