from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from m2asr.decode.code_purity import Purity
from m2asr.errors import UserError

CTM = """a 1 0.00 0.20 n 0.9
a 1 0.20 0.20 i
b 1 0.10 0.10 x
d 1 0.00 0.30 i
d 1 0.30 0.20 n
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "tokens.ctm").write_text(CTM)
    return tmp_path / "tokens.ctm"


def test_codes_get_the_labels_at_their_middles(path: Path) -> None:
    """Also where an utterance of the alignment, or of the set, is missing in the other; pauses count as without a label."""
    purity = Purity(path)
    purity.add("a", np.array([4, 4, 7, 7, 7]), np.array([0.05, 0.15, 0.2, 0.39, 0.45]))  # n n i i, and a pause
    purity.add("c", np.array([4]), np.array([0.05]))
    purity.add("d", np.array([7, 7, 4]), np.array([0.0, 0.35, 0.45]))  # i n n
    assert purity.counts == {(4, "n"): 3, (7, "i"): 3, (7, "n"): 1}
    assert "purity 0.857 over 2 labels" in str(purity) and "(a single code: 0.571)" in str(purity)
    assert str(purity).endswith("77.8% of the codes have a label")


def test_codes_that_are_labels_have_all_their_information(path: Path) -> None:
    for codes, share in (([1, 2], "1.000"), ([1, 1], "0.000")):
        purity = Purity(path)
        purity.add("a", np.array(codes), np.array([0.1, 0.3]))
        assert f"{share} of the labels' information" in str(purity)


def test_no_labels(path: Path) -> None:
    purity = Purity(path)
    purity.add("z", np.array([1]), np.array([0.1]))
    assert str(purity) == f"purity: unknown, as {path} has no label for these utterances"


@pytest.mark.parametrize(("line", "told"), [("e 1 0.1 x n", "6: write `utterance channel"), ("c 1 0 1 n", "6: c is out of order")])
def test_lines_that_are_no_sorted_ctm(path: Path, line: str, told: str) -> None:
    path.write_text(f"{CTM}{line}\n")
    purity = Purity(path)
    with pytest.raises(UserError, match=f"tokens.ctm:{told}"):
        purity.add("z", np.array([1]), np.array([0.1]))


def test_an_alignment_that_is_no_text(path: Path) -> None:
    path.write_bytes(CTM.encode() + b"e 1 0.1 0.1 \xff\n")
    with pytest.raises(UserError, match="tokens.ctm:6: write `utterance channel"):
        Purity(path).add("z", np.array([1]), np.array([0.1]))
