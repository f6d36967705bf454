from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from m2asr.errors import UserError
from m2asr.lm.arpa import read_arpa
from m2asr.lm.arpa_write import write_arpa
from m2asr.lm.ngram import NgramModel
from m2asr.lm.table import Table
from tests.lm.models import write_random_arpa

ARPA = r"""
\data\
ngram 1=5
ngram 2=3
ngram 3=1

\1-grams:
-1.2	<unk>
-99	<s>	-0.4
-0.6	</s>
-0.5	a	-0.3
-0.4	b	-0.2

\2-grams:
-0.2	<s> a	-0.1
-0.3	a b	-0.5
-0.9	b </s>

\3-grams:
-0.1	<s> a b

\end\
"""
LINES = ARPA.splitlines()
SENTENCES = (["a", "b"], ["b", "b", "a"], ["x", "a", "b", "x"], [])


def read(text: str | bytes, path: Path) -> Table:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_arpa(path)


def scores(table: Table) -> list[float]:
    model = NgramModel.from_table(table)
    return [score for sentence in SENTENCES for score in model.sentence(sentence)]


@pytest.mark.parametrize("name", ["again.arpa", "again.arpa.gz"])
@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_written_is_read_again(seed: int, name: str, tmp_path: Path) -> None:
    write_random_arpa(tmp_path / "lm.arpa", seed)
    table = read_arpa(tmp_path / "lm.arpa")
    write_arpa(tmp_path / name, table)
    again = read_arpa(tmp_path / name)
    assert again.words == table.words
    for order, expected in zip(again.orders, table.orders, strict=True):
        for column in ("context", "word", "suffix"):
            np.testing.assert_array_equal(getattr(order, column), getattr(expected, column))
        np.testing.assert_allclose(order.log_prob, expected.log_prob, rtol=1e-6)
        np.testing.assert_allclose(order.backoff, expected.backoff, rtol=1e-6, atol=1e-7)


def test_kenlm_reads_what_is_written(tmp_path: Path) -> None:
    kenlm = pytest.importorskip("kenlm", reason="kenlm is not installed (extra bench)")
    write_arpa(tmp_path / "lm.arpa", read(ARPA, tmp_path / "in.arpa"))
    model, expected = NgramModel.from_table(read_arpa(tmp_path / "lm.arpa")), kenlm.Model(str(tmp_path / "lm.arpa"))
    for sentence in SENTENCES:
        scores = [score / np.log(10) for score in model.sentence(sentence)]
        assert scores == pytest.approx([score for score, *_ in expected.full_scores(" ".join(sentence))], abs=1e-5)


def swapped(first: str, second: str) -> str:
    return "\n".join({first: second, second: first}.get(line, line) for line in LINES)


@pytest.mark.parametrize(
    "variant",
    [
        ARPA.replace("\n", "\r\n"),
        ARPA.replace("\t", "  "),
        ARPA.replace("<unk>", "<UNK>"),
        ARPA.replace("ngram 1=5", "ngram  1=       5"),  # IRSTLM
        ARPA.replace("-99", "-inf"),
        ARPA.replace("-99", "0"),  # KenLM
        ARPA.replace("-1.2\t<unk>", "-1.2\t<unk>\t0"),
        ARPA.replace("\\data\\", "written by hand\n\\data\\"),
        ARPA.replace("\nngram 3=1", "\nngram 3=1\nngram 4=0").replace("\\end\\", "\\4-grams:\n\n\\end\\"),
        ARPA.replace("\\end\\\n", "\\end\\"),
        ARPA.replace("-0.3\ta b", "\n \n-0.3\ta b"),
        swapped(LINES[14], LINES[16]),
    ],
    ids=["crlf", "spaces", "UNK", "irstlm", "inf", "kenlm", "weight", "comment", "empty order", "no newline", "empty lines", "unsorted"],
)
def test_the_ways_of_other_toolkits_are_read(variant: str, tmp_path: Path) -> None:
    assert variant != ARPA
    table = read(variant, tmp_path / "lm.arpa")
    assert "<unk>" in table.words
    assert scores(table) == pytest.approx(scores(read(ARPA, tmp_path / "lm.arpa")))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ngram 2=3", "ngram 2=4", r"lm.arpa:19: `\\3-grams:` after 3 of the 4 2-grams"),
        ("ngram 2=3", "ngram 2=2", r"lm.arpa:17: `-0.9.b </s>` where \\3-grams: is expected"),
        ("ngram 3=1", "ngram 3=0", r"lm.arpa:20: `-0.1.<s> a b` where \\end\\ is expected"),
        ("ngram 2=3", "ngram 3=3", r"lm.arpa:4: `ngram 3=3` where `ngram 2=<count>`"),
        ("ngram 2=3", "ngram 2=many", r"lm.arpa:4: `ngram 2=many` where"),
        ("-0.3\ta b", "0.3\ta b", r"lm.arpa:16: the log-probability 0.3 is positive"),
        ("-0.3\ta b", "nan\ta b", r"lm.arpa:16: `nan` is no number"),
        ("-0.3\ta b", "-0,3\ta b", r"lm.arpa:16: `-0,3` is no number"),
        ("a b\t-0.5", "a b\tinf", r"lm.arpa:16: `inf` is no number"),
        ("-0.3\ta b", "-0.3\ta c", r"lm.arpa:16: `c` is not among the unigrams"),
        ("<s> a b\n", "<s> b a\n", r"lm.arpa:20: `<s> b`, the context, is not among the 2-grams"),
        ("-0.3\ta b\t-0.5", "-0.3\ta", r"lm.arpa:16: 2 fields; a log-probability, 2 words"),
        ("-0.3\ta b\t-0.5", "-0.3\ta b\t-0.5\t7", r"lm.arpa:16: 5 fields; a log-probability, 2 words"),
        ("-0.9\tb </s>", "-0.9\ta b", r"lm.arpa:17: this n-gram has two lines among the 2-grams"),
        ("-0.4\tb\t", "-0.4\ta\t", r"lm.arpa:12: the word `a` has two lines among the unigrams"),
        ("</s>", "end", r"the unigrams lack </s>"),
        ("\\end\\", "", r"the file ends before \\end\\"),
        ("\\data\\", "", r"the file ends before \\end\\"),
        ("-0.9\tb </s>\n\n\\3-grams:\n-0.1\t<s> a b\n\n\\end\\", "", r"lm.arpa:17: the file ends after 2 of the 3 2-grams"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_the_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in ARPA
    with pytest.raises(UserError, match=message) as raised:
        read(ARPA.replace(old, new), tmp_path / "lm.arpa")
    assert "\n" not in str(raised.value)


def test_an_order_without_words_or_text_that_is_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the model has no words"):
        read("\\data\\\n\n\\end\\\n", tmp_path / "lm.arpa")
    with pytest.raises(UserError, match=r"lm.arpa:12: the word `.*` is not UTF-8"):
        read(ARPA.encode().replace(b"-0.4\tb", b"-0.4\t\xff"), tmp_path / "lm.arpa")


def test_a_truncated_or_missing_file(tmp_path: Path) -> None:
    packed = gzip.compress(ARPA.encode())
    assert scores(read(packed, tmp_path / "lm.arpa.gz"))
    for damaged in (packed[:-20], packed[:-8] + bytes(8)):
        with pytest.raises(UserError, match=r"lm.arpa.gz: the .gz is truncated or damaged"):
            read(damaged, tmp_path / "lm.arpa.gz")
    with pytest.raises(UserError, match=r"none.arpa: cannot read: No such file"):
        read_arpa(tmp_path / "none.arpa")
    with pytest.raises(UserError, match=r"cannot read: it is a folder"):
        read_arpa(tmp_path)
