"""UtteranceIndex: random access equals the files, the cache follows its sources, contradictions are named by file and line."""

from __future__ import annotations

import os
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import kaldiio
import numpy as np
import pytest

from m2asr.data.index import UtteranceIndex
from m2asr.errors import UserError
from tests.data.sets import write_lines, write_set

TEXTS = {"text": ["привет мир", "", "x" * 5000, "d", None], "text.de": [None, "Hallo, Welt!", None, None, "ä"]}


@pytest.fixture
def one_set(tmp_path: Path) -> tuple[Path, Path]:
    return write_set(tmp_path, "train", [7, 30, 12, 5, 9], texts=TEXTS)


def edit(path: Path, line: int, text: str | None) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[line - 1 : line] = [] if text is None else [text]
    write_lines(path, lines)


def test_every_field_agrees_with_the_files(one_set: tuple[Path, Path]) -> None:
    data, dump = one_set
    index = UtteranceIndex(data, dump)
    utts = [line.split()[0] for line in (data / "utt2spk").read_text().splitlines()]
    stored = kaldiio.load_scp(str(dump / "feats.scp"))
    assert len(index) == 5
    for i in (3, 0, 4, 1, 2):
        assert index.utt_ids(i) == utts[i]
        assert index.speaker(i) == utts[i].rsplit("-", 1)[0]
        assert index.lang(i) == "en"
        assert index.text(i) == TEXTS["text"][i]
        assert index.text(i, "text.de") == TEXTS["text.de"][i]
        assert index.text(i, "text.fr") is None
        assert not index.has_text("text.fr")
        assert np.array_equal(index.feats(i), stored[utts[i]])
        assert index.frames[i] == len(stored[utts[i]])


def test_the_cache_is_kept_and_follows_its_sources(one_set: tuple[Path, Path]) -> None:
    data, dump = one_set
    UtteranceIndex(data, dump)
    caches = [path.stat().st_mtime_ns for path in (dump / "index").iterdir()]
    UtteranceIndex(data, dump)
    assert [path.stat().st_mtime_ns for path in (dump / "index").iterdir()] == caches
    edit(data / "text", 1, f"{UtteranceIndex(data, dump).utt_ids(0)} other words")
    assert UtteranceIndex(data, dump).text(0) == "other words"
    assert UtteranceIndex(data, dump).text(3) == "d"
    assert len(list((dump / "index").iterdir())) == 1


def test_many_processes_may_build_the_cache_at_once(one_set: tuple[Path, Path]) -> None:
    data, dump = one_set
    with ProcessPoolExecutor(4) as pool:
        assert list(pool.map(_read_text, [data] * 12, [dump] * 12)) == ["d"] * 12
    assert len(os.listdir(dump / "index")) == 1


def _read_text(data: Path, dump: Path) -> str | None:
    return UtteranceIndex(data, dump).text(3)


@pytest.mark.parametrize(
    ("file", "line", "text", "message"),
    [
        ("data/train/utt2lang", 2, None, "utt2spk:2: `train-spk0-0003` has no line in .*utt2lang"),
        ("dump/train/feats.scp", 5, None, "utt2spk:5: .* has no line in .*feats.scp; make the features again"),
        ("data/train/utt2spk", 3, None, "feats.scp:3|utt2lang:3: .* is not in .*utt2spk"),
        ("data/train/text", 4, "train-spk9-0000 who", "text:4: `train-spk9-0000` is not in"),
        ("dump/train/feats.scp", 2, "train-spk0-0000 x:1", "feats.scp:2: .* has two lines; make the features again"),
        ("data/train/text", 2, "train-spk0-0000 again", "text:2: `train-spk0-0000` has two lines; .*m2asr.bin.fix_data_dir .*data/train$"),
        ("data/train/text", 3, "train-spk0-0000 back", "text:3: `train-spk0-0000` is out of order"),
        ("data/train/text", 1, " ", "text:1: an empty line"),
        ("dump/train/utt2num_frames", 1, "train-spk0-0000 many", "utt2num_frames:1: .*`many` is not a length"),
    ],
)
def test_contradictions_are_named(one_set: tuple[Path, Path], file: str, line: int, text: str | None, message: str) -> None:
    data, dump = one_set
    edit(data.parent.parent / file, line, text)
    with pytest.raises(UserError, match=message) as error:
        UtteranceIndex(data, dump)
    assert "\n" not in str(error.value)
    assert not list((dump / "index").iterdir()), "nothing half-built stays"


def test_missing_files_name_the_stage(one_set: tuple[Path, Path]) -> None:
    data, dump = one_set
    (dump / "feats.scp").unlink()
    with pytest.raises(UserError, match="feats.scp: this file is missing; make it with stage fbank"):
        UtteranceIndex(data, dump)


def test_text_that_is_not_utf8_is_named(one_set: tuple[Path, Path]) -> None:
    data, dump = one_set
    (data / "text").write_bytes((data / "text").read_bytes() + b"train-spk9 \xff\n")
    with pytest.raises(UserError, match="text:5: not UTF-8"):
        UtteranceIndex(data, dump)


@pytest.mark.parametrize("damage", ["truncated", "gone", "command", "frames"])
def test_unreadable_features_name_the_file(one_set: tuple[Path, Path], damage: str) -> None:
    data, dump = one_set
    ark = dump / "feats.1.ark"
    if damage == "truncated":
        ark.write_bytes(ark.read_bytes()[:-20])
    elif damage == "gone":
        ark.unlink()
    elif damage == "command":
        edit(dump / "feats.scp", 5, f"train-spk2-0002 touch {dump}/feats.1.ark:1 |")
    else:
        last = (dump / "utt2num_frames").read_text().splitlines()[-1].split()[0]
        edit(dump / "utt2num_frames", 5, f"{last} 77")
    index = UtteranceIndex(data, dump)
    with pytest.raises(UserError, match=r"feats\.1\.ark:(\d+:)? |not `file:offset`") as error:
        index.feats(4)
    assert "\n" not in str(error.value)


def exchange(path: Path, first: int, second: int) -> None:
    """Exchange the values of two lines, and keep size and times of the file."""
    state, lines = path.stat(), path.read_text(encoding="utf-8").splitlines()
    rows = [line.partition(" ") for line in lines]
    rows[first], rows[second] = (*rows[first][:2], rows[second][2]), (*rows[second][:2], rows[first][2])
    write_lines(path, ["".join(row) for row in rows])
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def test_a_matrix_of_another_utterance_is_told(tmp_path: Path) -> None:
    """Both are equally long, so that only the id before the matrix tells them apart."""
    data, dump = write_set(tmp_path, "train", [7, 7, 12])
    exchange(dump / "feats.scp", 0, 1)
    index = UtteranceIndex(data, dump)
    for i in (0, 1):
        with pytest.raises(UserError, match=rf"feats.1.ark:\d+: the matrix there is not that of {index.utt_ids(i)}; run stage fbank again"):
            index.feats(i)
    assert len(index.feats(2)) == 12


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_features_must_be_finite_and_equally_wide(tmp_path: Path, wrong: float) -> None:
    data, dump = write_set(tmp_path, "train", [7, 9, 12])
    feats = {utt: np.array(matrix) for utt, matrix in kaldiio.load_scp(str(dump / "feats.scp")).items()}
    first, second, third = feats
    feats[second][3, 1], feats[third] = wrong, np.zeros((12, 5), dtype=np.float32)
    kaldiio.save_ark(str(dump / "feats.1.ark"), feats, scp=str(dump / "feats.scp"))
    index = UtteranceIndex(data, dump)
    assert index.feats(0).shape == (7, 4)
    with pytest.raises(UserError, match="its features are not finite numbers"):
        index.feats(1)
    with pytest.raises(UserError, match="5 features per frame, not 4"):
        index.feats(2)


def test_a_damaged_cache_is_built_again(one_set: tuple[Path, Path]) -> None:
    """Whatever happens to its files: other bytes, other sizes, exchanged, gone."""
    data, dump = one_set

    def content() -> list[object]:
        index = UtteranceIndex(data, dump)
        texts = [(index.utt_ids(i), index.lang(i), index.text(i), index.text(i, "text.de"), len(index.feats(i))) for i in range(len(index))]
        return [*texts, index.frames.tolist(), index.token_counts("text", Letters("a")).tolist()]

    expected = content()
    (cache,) = (dump / "index").iterdir()
    names = sorted(path.name for path in cache.iterdir())
    assert "tokens.text.a" in names and "contents.json" in names and "lang_ids" in names
    for name in names:
        whole = (cache / name).read_bytes()
        flipped = bytes([whole[0] ^ 8, *whole[1:]])
        for damaged in (flipped, whole[:-1], whole + b"x", b"", (cache / "frames").read_bytes(), None):
            (cache / name).unlink()
            if damaged is not None:
                (cache / name).write_bytes(damaged)
            assert content() == expected, name


def test_a_line_that_is_not_where_it_was_is_told(one_set: tuple[Path, Path]) -> None:
    """A file that was changed in place, with its size and times as they were."""
    data, dump = one_set
    UtteranceIndex(data, dump)
    state, lines = (data / "text").stat(), (data / "text").read_text(encoding="utf-8").splitlines()
    write_lines(data / "text", [lines[1], lines[0], *lines[2:]])
    os.utime(data / "text", ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(UserError, match=r"/text: the line of train-spk\S+ is not where it was when the file was indexed;"):
        UtteranceIndex(data, dump).text(1)
    with pytest.raises(UserError, match="text:2: .* is out of order"):  # the index is made anew
        UtteranceIndex(data, dump)


def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    data, dump = write_set(tmp_path, "big", [1] * 20000, texts={"text": ["some words of text"] * 20000})
    UtteranceIndex(data, dump)
    tracemalloc.start()
    index = UtteranceIndex(data, dump)
    index.feats(19999)
    assert tracemalloc.get_traced_memory()[1] < 300_000  # the arrays are mapped, not read
    tracemalloc.stop()


def test_opening_reads_nothing_but_the_cache(one_set: tuple[Path, Path]) -> None:
    data, dump = one_set
    before = UtteranceIndex(data, dump)
    for path in (data / "utt2spk", data / "utt2lang", data / "text", dump / "feats.scp", dump / "utt2num_frames"):
        state = path.stat()
        path.write_bytes(b"?" * state.st_size)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    after = UtteranceIndex(data, dump)
    assert after.frames.tolist() == before.frames.tolist()
    assert [after.lang(i) for i in range(5)] == ["en"] * 5
    assert not after.has_text("text.fr") and after.has_text()


class Letters:
    """Counts the texts that it has encoded."""

    def __init__(self, digest: str) -> None:
        self.digest, self.encoded = digest, 0

    def encode(self, text: str) -> list[int]:
        self.encoded += 1
        return [ord(letter) for letter in text]


def test_tokens_are_counted_once_for_every_tokenizer_and_text(one_set: tuple[Path, Path]) -> None:
    data, dump = one_set
    first, second = Letters("a"), Letters("b")
    for _ in range(2):
        index = UtteranceIndex(data, dump)
        for tokenizer in (first, second):
            assert index.token_counts("text", tokenizer).tolist() == [10, 0, 5000, 1, 0]
        assert index.token_counts("text.de", first).tolist() == [0, 12, 0, 0, 1]
        assert index.token_counts("text.fr", first).tolist() == [0] * 5
    assert (first.encoded, second.encoded) == (10, 5)
    edit(data / "text", 1, f"{index.utt_ids(0)} abc")
    assert UtteranceIndex(data, dump).token_counts("text", first).tolist() == [3, 0, 5000, 1, 0]


def test_tabs_and_trailing_spaces_are_separators(one_set: tuple[Path, Path]) -> None:
    data, dump = one_set
    utts = (data / "utt2spk").read_text().split()[::2]
    write_lines(data / "text", [f"{utts[0]}\ta b ", f"{utts[1]} ", f"{utts[2]}"])
    index = UtteranceIndex(data, dump)
    assert [index.text(i) for i in range(4)] == ["a b", "", "", None]


def test_a_table_of_languages_that_holds_something_else_is_told(tmp_path: Path) -> None:
    data, dump = write_set(tmp_path, "train", [1] * 10_001)
    utts = [line.split()[0] for line in (data / "utt2spk").read_text().splitlines()]
    write_lines(data / "utt2lang", [f"{utt} {number}" for number, utt in enumerate(utts)])
    with pytest.raises(UserError, match="utt2lang:10001: more than 10000 languages; write a code such as en"):
        UtteranceIndex(data, dump)


def test_segments_with_tabs(tmp_path: Path) -> None:
    for name, line in {"wav.scp": "r a.wav", "utt2spk": "a s", "utt2lang": "a en", "utt2dur": "a 1", "segments": "a\tr\t0\t1"}.items():
        write_lines(tmp_path / name, [line])
    assert len(UtteranceIndex(tmp_path)) == 1
