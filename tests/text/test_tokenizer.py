from __future__ import annotations

from pathlib import Path

import pytest

from m2asr.data.directory import read_table
from m2asr.errors import UserError
from m2asr.text.tokenizer import BLANK, UNK, Tokenizer, train_tokenizer

SIZES = {"char": None, "words": None, "codes": 620, "unigram": 60, "bpe": 60}


@pytest.fixture(scope="module")
def texts(mini_data: Path) -> list[str]:
    return list(read_table(mini_data / "train_en" / "text").values())


@pytest.fixture(params=list(SIZES))
def tokenizer(request: pytest.FixtureRequest, texts: list[str], tmp_path: Path) -> Tokenizer:
    return train_tokenizer(request.param, SIZES[request.param], texts, tmp_path / "en")


def test_decode_inverts_encode_and_special_ids_are_never_text(tokenizer: Tokenizer, texts: list[str]) -> None:
    for text in texts:
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert min(ids) > UNK and max(ids) < tokenizer.eos == tokenizer.size - 1
    assert tokenizer.encode("") == []


def test_special_ids_are_silent_and_the_unknown_is_seen(tokenizer: Tokenizer, texts: list[str]) -> None:
    ids = tokenizer.encode(texts[0])
    assert tokenizer.decode([tokenizer.eos, BLANK, *ids, BLANK, tokenizer.eos]) == texts[0]
    assert tokenizer.encode("ж").count(UNK) == 1
    assert "⁇" in tokenizer.decode(tokenizer.encode("ж"))


def test_loading_gives_the_same_tokenizer_and_training_repeats(tokenizer: Tokenizer, texts: list[str], tmp_path: Path) -> None:
    again = train_tokenizer(tokenizer.kind, SIZES[tokenizer.kind], texts, tmp_path / "again")
    loaded = Tokenizer.load(tmp_path / "en")
    assert tokenizer.tokens == loaded.tokens == again.tokens
    assert tokenizer.digest == loaded.digest == again.digest
    assert tokenizer.digest != train_tokenizer(tokenizer.kind, SIZES[tokenizer.kind], [*texts, "più"], tmp_path / "other").digest
    for text in texts[:50]:
        assert tokenizer.encode(text) == loaded.encode(text) == again.encode(text)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_size_counts_every_token(kind: str, texts: list[str], tmp_path: Path) -> None:
    assert train_tokenizer(kind, 60, texts, tmp_path / "en").size == 60


def test_words_are_tokens_and_a_size_keeps_the_most_frequent(tmp_path: Path) -> None:
    texts = ["n i3 h ao3", "h ao3", "n i3 <blank>", "b a4"]
    phones = train_tokenizer("words", None, texts, tmp_path / "phones")
    assert [phones.piece(number).removeprefix("▁") for number in range(2, phones.eos)] == ["<blank>", "a4", "ao3", "b", "h", "i3", "n"]
    assert phones.decode(phones.encode("n  i3 x <blank>")) == "n i3 ⁇ <blank>"
    few = train_tokenizer("words", 8, reversed(texts), tmp_path / "few")
    assert few.size == 8 and [token for token in phones.tokens if token not in few.tokens] == ["▁a4", "▁b"]
    with pytest.raises(UserError, match="tokens.phones.size: no 11 words in 4 texts: at most 10 are possible"):
        train_tokenizer("words", 11, texts, tmp_path / "phones")


def test_tokens_of_codes_are_sequences_of_words(tmp_path: Path) -> None:
    """BPE over words: a sequence that occurs often is one token, and each word alone is one, so that every sequence can be written."""
    texts = ["c011 c002 c013", "c011 c002 c010", "c013 c011 c002", "c002 c010"]
    codes = train_tokenizer("codes", 8, texts, tmp_path / "codes")
    assert codes.size == 8 and sorted(codes.tokens[2:-1]) == ["▁c002", "▁c010", "▁c011", "▁c011▁c002", "▁c013"]
    assert [codes.piece(number) for number in codes.encode(texts[2])] == ["▁c013", "▁c011▁c002"]
    assert codes.decode(codes.encode("c010 c002  c011 c011 c002")) == "c010 c002 c011 c011 c002"
    assert codes.decode(codes.encode("c011 c999 c002")) == "c011 ⁇ c002"
    assert codes.decode([codes.encode("c010")[0], codes.eos]) == "c010"
    with pytest.raises(UserError, match="tokens.codes.size: 6 tokens do not hold all 4 code words; give at least 7"):
        train_tokenizer("codes", 6, texts, tmp_path / "codes")


def test_odd_spaces_and_long_texts_do_no_harm(tmp_path: Path) -> None:
    text = "uno\u00a0due\u2028tre\x0bquattro"
    for kind, size in (("char", None), ("words", None), ("unigram", 16)):
        tokenizer = train_tokenizer(kind, size, [text, "x " * 4000 + "ж"], tmp_path / kind)
        assert tokenizer.decode(Tokenizer.load(tmp_path / kind).encode(text)) == "uno due tre quattro"
        assert UNK not in tokenizer.encode("ж")  # the long text was read as well


def test_impossible_sizes_and_empty_texts_are_told_in_one_line(texts: list[str], tmp_path: Path) -> None:
    for kind, size, lines, message in (
        ("unigram", 100_000, texts, "tokens.en.size: no 100000 unigram tokens"),
        ("bpe", None, texts, "tokens.en.size: missing"),
        ("char", None, ["", " "], "no text to train"),
    ):
        with pytest.raises(UserError, match=message) as error:
            train_tokenizer(kind, size, lines, tmp_path / "en")
        assert "\n" not in str(error.value)
    assert not (tmp_path / "en").exists()
    with pytest.raises(UserError, match="at most") as error:
        train_tokenizer("unigram", 100_000, texts, tmp_path / "en")
    most = int(str(error.value).split("at most ")[1].split()[0])
    assert train_tokenizer("unigram", most, texts, tmp_path / "en").size == most


@pytest.mark.parametrize("damage", ["tokens.txt", "tokenizer.yaml", "sentencepiece.model"])
def test_damaged_folders_are_named(damage: str, texts: list[str], tmp_path: Path) -> None:
    train_tokenizer("bpe", 60, texts, tmp_path / "en")
    (tmp_path / "en" / damage).write_bytes(b"\xff 5\n")
    with pytest.raises(UserError, match=rf"{tmp_path}/en: not a readable tokenizer") as error:
        Tokenizer.load(tmp_path / "en")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_size_below_the_alphabet_is_told_with_the_least_size(kind: str, tmp_path: Path) -> None:
    texts = ["the quick brown fox jumps over the lazy dog"] * 50
    for bytes_too in (False, True):
        with pytest.raises(UserError, match="lower tokens.en.coverage") as error:
            train_tokenizer(kind, 10, texts, tmp_path / "en", byte_fallback=bytes_too)
        assert "--" not in str(error.value) and "\n" not in str(error.value)
        least = int(str(error.value).split(": ")[2].split(" are the least")[0])
        with pytest.raises(UserError):
            train_tokenizer(kind, least - 1, texts, tmp_path / "en", byte_fallback=bytes_too)
        assert train_tokenizer(kind, least, texts, tmp_path / "en", byte_fallback=bytes_too).size == least


def test_a_coverage_that_sentencepiece_refuses_is_one_line(texts: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tokens.en.size: no 60 unigram tokens in \d+ texts: .*coverage") as error:
        train_tokenizer("unigram", 60, texts, tmp_path / "en", coverage=0.9)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_rare_characters_are_unknown_or_written_in_bytes(kind: str, texts: list[str], tmp_path: Path) -> None:
    rare = [*texts, "x ж語 y"]
    few = train_tokenizer(kind, 60, rare, tmp_path / "few", coverage=0.999)
    assert UNK in few.encode("ж") and "⁇" in few.decode(few.encode("x ж y"))
    whole = train_tokenizer(kind, 320, rare, tmp_path / "bytes", coverage=0.999, byte_fallback=True)
    assert whole.decode(whole.encode("x ж語 y")) == "x ж語 y" and UNK not in whole.encode("ж語")
    assert Tokenizer.load(tmp_path / "bytes").decode(whole.encode("ж語")[:-1]) == "ж�"
