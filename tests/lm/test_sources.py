from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from m2asr.errors import UserError
from m2asr.lm.sources import Sources
from m2asr.text.tokenizer import Tokenizer, train_tokenizer


def test_folders_text_sets_and_files_give_the_same_sentences(mini_data: Path, tmp_path: Path, sentences: list[list[str]]) -> None:
    lines = "".join(" ".join(words) + "\n" for words in sentences)
    (tmp_path / "plain.txt").write_text(lines)
    (tmp_path / "windows.txt").write_text(lines.replace("\n", "\r\n"))
    (tmp_path / "packed").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "set").mkdir()
    (tmp_path / "set/text").write_bytes((mini_data / "train_en/text").read_bytes())
    for path in (mini_data / "train_en", tmp_path / "plain.txt", tmp_path / "windows.txt", tmp_path / "packed", tmp_path / "set"):
        assert list(Sources([path])) == sentences
    assert list(Sources([tmp_path / "plain.txt", tmp_path / "packed"])) == 2 * sentences
    assert list(Sources([tmp_path / "plain.txt"], every=5)) == sentences[::5]
    italian = list(Sources([mini_data / "train_en"], column="text.it"))
    assert italian and italian != sentences[: len(italian)]


def test_tokens_are_those_of_the_tokenizer(letters: Tokenizer, sentences: list[list[str]], mini_data: Path) -> None:
    assert list(Sources([mini_data / "train_en"], tokenizer=letters)) == [list("▁".join(words)) for words in sentences]
    (unknown,) = [words for words in Sources([mini_data / "dev_ru"], tokenizer=letters)][:1]
    assert "<unk>" in unknown


def test_phones_are_tokens_of_a_model_as_they_are_of_a_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "text.phones").write_text("a n i3 h ao3\nb h ao3\n")
    phones = train_tokenizer("words", None, ["n i3 h ao3"], tmp_path / "tokens")
    sentences = list(Sources([tmp_path], "text.phones", phones))
    assert sentences == [["▁n", "▁i3", "▁h", "▁ao3"], ["▁h", "▁ao3"]] and set(sum(sentences, [])) == set(phones.tokens[2:-1])
    assert list(Sources([tmp_path], "text.phones")) == [["n", "i3", "h", "ao3"], ["h", "ao3"]]


def test_empty_lines_are_counted(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\na b\n  \nc\n\n")
    sources = Sources([tmp_path / "text.txt"])
    for _ in range(2):
        assert list(sources) == [["a", "b"], ["c"]] and sources.empty == 3


def test_bad_input_is_one_line(mini_data: Path, tmp_path: Path) -> None:
    def message(path: Path, column: str = "text") -> str:
        with pytest.raises(UserError) as raised:
            list(Sources([path], column))
        assert "\n" not in str(raised.value)
        return str(raised.value)

    assert "none.txt: no such file or folder" in message(tmp_path / "none.txt")
    assert "it has no file text.xx" in message(mini_data / "train_en", "text.xx")
    assert "name its folder, and --column text.it" in message(mini_data / "train_en/text.it")
    (tmp_path / "bytes.txt").write_bytes(b"fine\nnot \xff fine\n")
    assert "bytes.txt:2: not UTF-8 text" in message(tmp_path / "bytes.txt")
    (tmp_path / "marks.txt").write_text("fine\na </s> b\n")
    assert "marks.txt:2: <s> and </s> mark sentences" in message(tmp_path / "marks.txt")
    (tmp_path / "packed.gz").write_bytes(gzip.compress(b"a b c\n" * 1000)[:-12])
    assert "packed.gz: the .gz is truncated or damaged" in message(tmp_path / "packed.gz")


@pytest.mark.parametrize("opened", [open, gzip.open])
def test_a_byte_order_mark_is_no_letter(tmp_path: Path, opened) -> None:
    with opened(tmp_path / "text.gz", "wb") as file:
        file.write("\ufeffhold the line\nwait\n".encode())
    assert list(Sources([tmp_path / "text.gz"])) == [["hold", "the", "line"], ["wait"]]
