"""Which utterances are scored, and which are counted as left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from m2asr.errors import UserError
from m2asr.score import evaluate
from m2asr.score.evaluate import match, score_folder, score_recognition, score_translation

WHERE = Path("exp/run/decode_greedy/test/asr/text")


def test_short_references_and_strange_hypotheses_are_counted():
    references = {"a": "one two three", "b": "one two", "c": "one two three four"}
    hypotheses = {"a": "", "b": "one", "c": "one", "d": "what"}
    answers = match(references, hypotheses, {"a": "s"}, "en", 3, WHERE)
    assert answers.utts == ["a", "c"] and answers.speakers == ["s", "unknown"]
    assert (answers.short, answers.unmatched) == (1, 1)


def test_characters_are_the_words_of_chinese():
    answers = match({"a": "你好吗", "b": "你好"}, {"a": "你好", "b": ""}, {}, "zh", 3, WHERE)
    assert answers.utts == ["a"]


def test_every_text_is_read_in_its_own_language(tmp_path):
    references, hypotheses = {"a": "你好吗", "b": "dial twenty one"}, {"a": "你 好 吗", "b": "Dial 21!"}
    answers = match(references, hypotheses, {}, "en+zh", 3, WHERE, {"a": "zh", "b": "en"})
    assert answers.utts == ["a", "b"]
    rows = score_recognition(answers, "en+zh", [], tmp_path)
    assert [(row["metric"], row["value"], row["ref_tokens"]) for row in rows] == [("mer", 0.0, 6), ("cer", 0.0, 18)]


def test_a_missing_hypothesis_is_named():
    with pytest.raises(UserError, match="text: b: no hypothesis"):
        match({"a": "x", "b": "y"}, {"a": "x"}, {}, "en", 1, WHERE)


@pytest.mark.parametrize(("references", "least"), [({"a": "one"}, 3), ({"a": ""}, 0), ({}, 1)])
def test_nothing_to_score(references, least):
    with pytest.raises(UserError, match="lower --min_words"):
        match(references, {"a": "x"}, {}, "en", least, WHERE)


def test_recognition_is_scored_on_normalized_texts(tmp_path):
    answers = match({"a": "dial twenty one"}, {"a": "Dial 21!"}, {}, "en", 1, WHERE)
    rows = score_recognition(answers, "en", ["dial twenty two"], tmp_path)
    assert [(row["metric"], row["value"]) for row in rows] == [("wer", 0.0), ("cer", 0.0)]
    assert rows[0]["baseline"]["value"] == pytest.approx(1 / 3)
    assert (tmp_path / "hyp.trn").read_text() == (tmp_path / "ref.trn").read_text()


def test_chinese_is_aligned_by_character(tmp_path):
    answers = match({"a": "你好吗"}, {"a": "你号吗"}, {}, "zh", 1, WHERE)
    (cer,) = score_recognition(answers, "zh", [], tmp_path)  # no word error rate: a sentence would be a word
    assert (cer["sub"], cer["ref_tokens"]) == (1, 3) and "baseline" not in cer
    assert "REF:  你 好 吗" in (tmp_path / "result.txt").read_text()


def test_translation_keeps_case_and_names_its_baseline(tmp_path):
    answers = match({"a": "Thank you.", "b": "Please hold."}, {"a": "thank you", "b": ""}, {}, "en", 1, WHERE)
    chrf = score_translation(answers, "en", ["Goodbye.", "Please hold.", "Please hold."], tmp_path)[1]
    assert 0 < chrf["value"] < 100 and "`Please hold.`" in chrf["baseline"]["name"] and "chrF2" in chrf["signature"]
    assert chrf["ci95"][0] <= chrf["value"] <= chrf["ci95"][1]


def test_the_baseline_translation_is_as_long_as_the_scored_ones(tmp_path):
    answers = match({"a": "Please hold the line."}, {"a": ""}, {}, "en", 3, WHERE)
    bleu = score_translation(answers, "en", ["Stop.", "Stop.", "Please hold the door."], tmp_path)[0]
    assert bleu["baseline"]["name"].endswith("`Please hold the door.`")
    assert all("baseline" not in row for row in score_translation(answers, "en", ["Stop."], tmp_path))


def test_groups_add_up_to_the_whole_set(tmp_path):
    """Every group is scored as if it were a set of its own; counts of the groups sum to those of the set."""
    references = {f"{name}-{n}": f"{name} says number {n} now" for name in ("anna", "bob") for n in range(6)}
    hypotheses = {utt: text if utt.startswith("bob") else text.replace("says", "said") for utt, text in references.items()}
    training = ["anna says number one", "bob says nothing now"]
    for score in (score_recognition, score_translation):
        answers = match(references, hypotheses, {}, "en", 1, WHERE)
        answers.groups = [utt.split("-")[0] for utt in answers.utts]
        rows = score(answers, "en", training, tmp_path)
        for name in ("anna", "bob"):
            subset = {utt: text for utt, text in references.items() if utt.startswith(name)}
            alone = score(match(subset, hypotheses, {}, "en", 1, WHERE), "en", training, tmp_path)
            assert [{**row["groups"][name], "metric": row["metric"]} for row in rows] == [
                {key: value for key, value in row.items() if key != "signature"} for row in alone
            ]
        for row in rows:
            assert row["groups"]["anna"]["value"] != row["groups"]["bob"]["value"]
            assert sum(group["ref_tokens"] for group in row["groups"].values()) == row["ref_tokens"]
            assert sum(group["utterances"] for group in row["groups"].values()) == row["utterances"] == 12


def test_training_texts_are_read_in_their_own_languages(tmp_path):
    """The training sentences are those of the test set, so the oracle makes no error."""
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        for file, lines in {"text": "a Dial 21!\nb 拨打3号\n", "utt2lang": "a en\nb zh\n", "utt2spk": "a x\nb x\n"}.items():
            (tmp_path / name / file).write_text(lines, encoding="utf-8")
    out = tmp_path / "decode/test/asr"
    out.mkdir(parents=True)
    (out / "text").write_text("a\nb\n")
    info = {"set": "test", "lang": "en+zh", "source": "en+zh", "task": "asr", "text": "text", "train_sets": ["train"], "objective": "asr"}
    (out / "info.json").write_text(json.dumps({**info, "language": "predicted", "search": {"name": "greedy"}}))
    rows = score_folder(out, tmp_path, 1)
    assert [(row["metric"], row["baseline"]["value"]) for row in rows] == [("mer", 0.0), ("cer", 0.0)]


def test_a_reference_of_punctuation_alone_is_left_out(tmp_path, capsys):
    """It has no word, so that its error rate would be a division by zero."""
    (tmp_path / "test").mkdir()
    for file, lines in {"text": "a dial one\nb ...\n", "utt2spk": "a x\nb x\n"}.items():
        (tmp_path / "test" / file).write_text(lines)
    out = tmp_path / "decode/test/asr"
    out.mkdir(parents=True)
    (out / "text").write_text("a dial two\nb\n")
    info = {"set": "test", "lang": "en", "source": "en", "task": "asr", "text": "text", "train_sets": [], "objective": "asr"}
    (out / "info.json").write_text(json.dumps({**info, "language": "oracle", "search": {"name": "greedy"}}))
    assert [(row["metric"], row["utterances"]) for row in score_folder(out, tmp_path, 1)] == [("wer", 1), ("cer", 1)]
    assert "1 below 1 words left out" in capsys.readouterr().out
    (tmp_path / "test/text").write_text("a ?!\nb ...\n")
    with pytest.raises(UserError, match="none of the 2 references"):
        score_folder(out, tmp_path, 1)


def test_large_corpora_have_no_oracle_and_say_so(tmp_path, capsys, monkeypatch):
    """A look-up of every reference in every training sentence would take hours there."""
    for name, text in (("train", "a-1 one two\na-2 two\n"), ("test", "b-1 one\nb-2 two three\n")):
        for file, content in (("text", text), ("utt2spk", "".join(f"{line.split()[0]} x\n" for line in text.splitlines()))):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / file).write_text(content)
    out = tmp_path / "decode/test/asr"
    out.mkdir(parents=True)
    (out / "text").write_text("b-1 one\nb-2 two\n")
    info = {"set": "test", "lang": "en", "task": "asr", "text": "text", "train_sets": ["train"], "source": "en"}
    (out / "info.json").write_text(json.dumps({**info, "objective": "asr", "language": "oracle", "search": {"name": "greedy"}}))
    assert all("baseline" in row and row["search"] == "greedy" for row in score_folder(out, tmp_path, 1))
    for limit, value, message in (
        ("MOST_COMPARISONS", 3, "2 training sentences are too many"),
        ("LARGEST_TEXTS", 9, "texts are too large"),
    ):
        monkeypatch.setattr(evaluate, limit, value)
        assert not any("baseline" in row for row in score_folder(out, tmp_path, 1))
        assert message in capsys.readouterr().out
