from __future__ import annotations

from pathlib import Path

import pytest

from m2asr.data.texts import check_codebooks, read_texts, training_texts
from m2asr.errors import UserError
from tests.data.sets import write_lines


@pytest.fixture
def two_languages(tmp_path: Path) -> Path:
    """A set with 64 English and 4 Russian texts."""
    texts = [("en", f"word {i}") for i in range(64)] + [("ru", f"слово {i}") for i in range(4)]
    write_lines(tmp_path / "text", [f"{lang}-{i:03d} {text}" for i, (lang, text) in enumerate(texts)])
    write_lines(tmp_path / "utt2lang", [f"{lang}-{i:03d} {lang}" for i, (lang, _) in enumerate(texts)])
    return tmp_path


@pytest.mark.parametrize("temperature, russian", [(1.0, 4), (2.0, 16), (1e6, 64)])
def test_small_languages_get_their_share(two_languages: Path, temperature: float, russian: int) -> None:
    texts = training_texts([two_languages], "text", temperature)
    counts = [sum(letter in text for text in texts) for letter in "wс"]
    assert counts == [64, russian]  # n_l^(1 / temperature), relative to the largest
    assert len(set(texts)) == 68  # nobody's text is lost


def test_a_set_without_the_text_has_none_and_a_missing_set_is_named(two_languages: Path) -> None:
    assert read_texts(two_languages, "text.de") == {} and training_texts([two_languages], "text.de", 1.0) == []
    with pytest.raises(UserError, match="nowhere: no such data directory; run stage 0"):
        read_texts(two_languages / "nowhere", "text")


def test_an_utterance_without_language_is_named(two_languages: Path) -> None:
    write_lines(two_languages / "text", ["xx-1 hello"])
    with pytest.raises(UserError, match=r"text:1: xx-1 has no language in .*utt2lang"):
        read_texts(two_languages, "text")


@pytest.mark.parametrize("utt", ["aa-1", "en-0005", "ru-9"])
def test_an_utterance_without_language_is_named_wherever_it_stands(two_languages: Path, utt: str) -> None:
    lines = (two_languages / "text").read_text().splitlines()
    write_lines(two_languages / "text", sorted([*lines, f"{utt} hello"]))
    with pytest.raises(UserError, match=f"text:[0-9]+: {utt} has no language"):
        read_texts(two_languages, "text")


def test_files_that_cannot_be_walked_through_are_named(two_languages: Path) -> None:
    write_lines(two_languages / "text.de", ["en-007 sieben", "en-003 drei"])
    with pytest.raises(UserError, match="text.de:2: `en-003` is out of order"):
        read_texts(two_languages, "text.de")
    (two_languages / "utt2lang").unlink()
    with pytest.raises(UserError, match="utt2lang: cannot read"):
        read_texts(two_languages, "text")


def test_texts_come_in_the_order_of_their_file_some_without_one(two_languages: Path) -> None:
    write_lines(two_languages / "text.de", ["en-003 drei", "en-007", "ru-065 eins"])
    assert read_texts(two_languages, "text.de") == {"en": ["drei", ""], "ru": ["eins"]}


def test_codes_of_one_tokenizer_are_of_one_codebook(tmp_path: Path) -> None:
    """A set without utt2codes, whose codes are from elsewhere, is let be."""
    folders = [tmp_path / name for name in ("train", "dev", "more", "none")]
    for folder, digest in zip(folders, ("abcd", "abcd", "efgh", ""), strict=True):
        folder.mkdir()
        if digest:
            write_lines(folder / "utt2codes", [f"a 20 0.08 {digest}", "b 7 0.08 xxxx"])
    check_codebooks([folders[0], folders[3], folders[1]])
    with pytest.raises(UserError, match="more: its codes are of another codebook than those of .*train; write them again"):
        check_codebooks(folders)
