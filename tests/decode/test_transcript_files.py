"""Files of transcripts: what stands in them, and names that do not collide."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from m2asr.decode.marks import Mark
from m2asr.decode.transcript import Segment, Transcript, spread
from m2asr.decode.transcript_files import FORMATS, output_names, write_transcript

WORDS = [Mark("buon", 1.0, 1.25, 0.9), Mark("giorno", 1.5, 2.0, 0.8)]
SEGMENTS = [
    Segment(1, 0.9, 2.1, "buon giorno", WORDS, "Good day", [Mark("Good", 1.0, 1.5, 0.5), Mark("day", 1.5, 2.0, 0.5)]),
    Segment(2, 1.5, 3.0, "grazie mille", (), "Thanks", ()),
]


def transcript(**changes: object) -> Transcript:
    return Transcript(**{"path": "x/my call.wav", "seconds": 4.0, "lang": "it", "to": "en", "segments": SEGMENTS, "channels": 2} | changes)


def written(folder: Path, **changes: object) -> dict[str, str]:
    paths = write_transcript(transcript(**changes), folder / "my call", FORMATS)
    assert sorted(paths) == sorted(folder.iterdir())
    return {path.name.removeprefix("my call."): path.read_text(encoding="utf-8") for path in paths}


def test_all_formats_with_translation_and_channels(tmp_path):
    files = written(tmp_path)
    assert files.keys() == {"json", *(f"{lang}{kind}" for lang in ("", "en.") for kind in ("txt", "srt", "vtt", "ctm"))}
    assert files["txt"] == "1: buon giorno\n2: grazie mille\n" and files["en.txt"] == "1: Good day\n2: Thanks\n"
    assert files["ctm"] == (
        "my_call 1 1.000 0.250 buon 0.900\nmy_call 1 1.500 0.500 giorno 0.800\n"
        "my_call 2 1.500 0.818 grazie 0.000\nmy_call 2 2.318 0.682 mille 0.000\n"
    )
    assert "2: Thanks" in files["en.srt"] and "00:00:01,000 --> 00:00:02,000\n1: Good day" in files["en.srt"]
    assert files["srt"].index("1: buon") < files["srt"].index("2: grazie")
    data = json.loads(files["json"])
    assert (data["language"], data["translated_into"], data["text"]) == ("it", "en", "buon giorno grazie mille")
    assert data["segments"][0]["words"][1] == {"word": "giorno", "start": 1.5, "end": 2.0, "confidence": 0.8}
    assert data["segments"][1]["translation"] == data["translation"].removeprefix("Good day ") == "Thanks"


def test_one_channel_without_translation(tmp_path):
    files = written(tmp_path, to=None, channels=1, segments=SEGMENTS[:1])
    assert files.keys() == set(FORMATS) and files["txt"] == "buon giorno\n" and "translation" not in files["json"]


def test_nothing_said(tmp_path):
    files = written(tmp_path, to=None, segments=[])
    assert (files["txt"], files["srt"], files["ctm"]) == ("", "", "") and json.loads(files["json"])["segments"] == []


def test_text_of_languages_without_spaces():
    chinese = transcript(lang="zh", to=None, segments=[Segment(1, 0, 1, "你好"), Segment(1, 2, 3, "ok"), Segment(1, 3, 4, "yes")])
    assert chinese.text == "你好ok yes"


def test_words_spread_over_a_segment():
    marks = spread("to be or not", 2.0, 4.0)
    assert [mark.text for mark in marks] == ["to", "be", "or", "not"]
    assert marks[0].start == 2.0 and marks[-1].end == pytest.approx(4.0)
    assert all(before.end == after.start for before, after in zip(marks, marks[1:], strict=False)) and spread("", 0, 1) == []


def test_names_do_not_collide():
    paths = ["call.wav", "call.mp3", "a/talk.wav", "b/talk.wav", "c/d/x.wav", "e/d/x.wav", "alone.flac", "Alone2.wav"]
    names = output_names([(Path(path), Path(Path(path).name)) for path in paths])
    assert [str(names[Path(path)]) for path in paths] == [
        *("call.wav", "call.mp3", "a_talk.wav", "b_talk.wav", "c_d_x.wav", "e_d_x.wav", "alone", "Alone2")
    ]
    inside = [(Path(f"in/{name}"), Path(name)) for name in ("x.wav", "deep/x.wav", "deep/x.mp3", "y.wav")]
    assert [str(name) for name in output_names(inside).values()] == ["x", "deep/x.wav", "deep/x.mp3", "y"]


def test_names_are_unique_for_any_input():
    paths = [Path(f"{a}/{b}/{c}{d}") for a in ("p", "q") for b in ("r", "P") for c in ("x", "X") for d in (".wav", ".mp3", ".wav.mp3")]
    names = output_names([(path, Path(path.name)) for path in paths])
    assert len({str(name).casefold() for name in names.values()}) == len(paths) and output_names([]) == {}
