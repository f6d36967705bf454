from __future__ import annotations

import pytest

from m2asr.errors import UserError
from m2asr.text.code_words import FIRST, LAST, CodeWords


def test_every_word_is_one_private_character_and_comes_back() -> None:
    words = [f"c{number:03d}" for number in range(300)]
    codes = CodeWords([*reversed(words), words[7]])
    characters = codes.write(" ".join(words))
    assert [ord(character) for character in characters] == list(range(FIRST, FIRST + 300))
    assert codes.read(characters) == words
    assert codes.read(codes.write("c001  x\tc002")) == ["c001", "", "c002"] and codes.write("") == ""


def test_more_words_than_characters() -> None:
    most = LAST - FIRST + 1
    assert len(CodeWords(map(str, range(most))).write(" ".join(map(str, range(most))))) == most
    with pytest.raises(UserError, match=f"{most + 1} different code words, at most {most} are possible"):
        CodeWords(map(str, range(most + 1)))
