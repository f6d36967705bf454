"""What is read back of a scored folder."""

from __future__ import annotations

import json

import pytest

from m2asr.data.directory import write_table
from m2asr.errors import UserError
from m2asr.score.decoded import read_decoded
from m2asr.score.evaluate import score_folder
from m2asr.score.translation import translation_scores


def decode(root, task, lang, references, hypotheses, langs=()):
    """A decoded folder of the set `calls`, whose data directory is beside it."""
    text = "text" if task == "asr" else f"text.{lang}"
    write_table(root / "data/calls" / text, references)
    write_table(root / "data/calls/utt2spk", dict.fromkeys(references, "anna"))
    write_table(root / "data/calls/utt2lang", dict(langs) or dict.fromkeys(references, lang))
    out = root / f"exp/decode_beam/calls/{task}"
    out.mkdir(parents=True)
    write_table(out / "text", hypotheses)
    source = lang if task == "asr" else "it"
    info = {"set": "calls", "objective": task, "task": task, "lang": lang, "source": source, "text": text, "train_sets": ["calls"]}
    (out / "info.json").write_text(json.dumps({**info, "language": "oracle", "unrepresentable": 0.0, "search": {"name": "beam"}}))
    return out


def read(out, root, min_words=1):
    score_folder(out, root / "data", min_words)
    return read_decoded(out, root / "data")


def test_errors_are_those_that_were_scored(tmp_path):
    references, hypotheses = {"a": "hold the line", "b": "no"}, {"a": "hold a line", "b": "no"}
    decoded = read(decode(tmp_path, "asr", "en", references, hypotheses), tmp_path, min_words=2)
    assert (decoded.search, decoded.set, decoded.objective, decoded.utts, decoded.decoded) == ("beam", "calls", "asr", ["a"], 2)
    assert decoded.errors.counts.tolist() == [[1, 0, 0, 3]] and decoded.chrf == []


def test_every_language_has_its_tokens(tmp_path):
    references, hypotheses = {"a": "你好吗", "b": "hold the line"}, {"a": "你号吗", "b": "hold line"}
    decoded = read(decode(tmp_path, "asr", "en+zh", references, hypotheses, {"a": "zh", "b": "en"}), tmp_path)
    assert decoded.langs == ["zh", "en"]
    assert list(decoded.errors.aligned(0)) == [("你", "你"), ("好", "号"), ("吗", "吗")]
    assert list(decoded.errors.aligned(1)) == [("hold", "hold"), ("the", ""), ("line", "line")]


def test_translations_have_the_chrf_of_their_sentence(tmp_path):
    references, hypotheses = {"a": "Hold the line.", "b": "Please wait."}, {"a": "Hold a line.", "b": "Please wait."}
    decoded = read(decode(tmp_path, "st", "en", references, hypotheses), tmp_path)
    assert decoded.errors is None and decoded.chrf[1] == pytest.approx(100)
    expected = translation_scores("chrf", ["Hold the line."], ["Hold a line."], "en").score
    assert decoded.chrf[0] == pytest.approx(expected) and decoded.chrf[0] < 90


def test_a_folder_that_was_not_scored_is_named(tmp_path):
    out = decode(tmp_path, "asr", "en", {"a": "hold"}, {"a": "hold"})
    with pytest.raises(UserError, match=r"ref.trn: missing; run stage 6"):
        read_decoded(out, tmp_path / "data")
    read(out, tmp_path)
    (out / "hyp.trn").write_text("hold (b)\n")
    with pytest.raises(UserError, match="do not hold the same utterances"):
        read_decoded(out, tmp_path / "data")
