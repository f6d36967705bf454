"""Comparisons of systems: means over seeds and parts, paired intervals, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from m2asr.bin.compare import main
from m2asr.errors import UserError
from m2asr.score.compare import difference, read_system, table
from m2asr.score.result_txt import write_trn

REFERENCES = [f"say {word} again please" for word in ("one", "two", "three", "four", "five", "six", "seven", "eight") * 5]


def scored(exp: Path, wrong: dict[str, int], drop: int = 0) -> Path:
    """A run whose first `wrong[set]` utterances have one word wrong; the last `drop` were not scored."""
    for name, count in wrong.items():
        out = exp / "decode_greedy" / name / "asr"
        out.mkdir(parents=True)
        utts = [f"{name}-{number:02}" for number in range(len(REFERENCES) - drop)]
        hypotheses = [text.replace("again", "gain") if number < count else text for number, text in enumerate(REFERENCES)]
        write_trn(out / "ref.trn", utts, REFERENCES[: len(utts)])
        write_trn(out / "hyp.trn", utts, hypotheses[: len(utts)])
        info = {"set": name, "task": "asr", "lang": name, "source": name, "text": "text", "objective": "asr"}
        (out / "info.json").write_text(json.dumps(info))
    (exp / "results.json").write_text(json.dumps({"train_seconds": 120.0, "audio_seconds": 3600.0, "peak_memory_gb": 1.5}))
    return exp


def test_means_deviations_and_differences(tmp_path):
    base = read_system("base", [[scored(tmp_path / f"a{seed}", {"en": 20, "it": 20 + seed})] for seed in (0, 4)], "greedy")
    good = read_system("good", [[scored(tmp_path / f"b{seed}", {"en": 2, "it": 4})] for seed in (0, 4)], "greedy")
    assert base.scores("wer") == pytest.approx([20 / 160, (20 + 24) / 320])
    center, low, high = difference(base, good, "wer")
    assert center == pytest.approx((6 - 42) / 320) and low < center < high < 0
    lines = table([base, good]).splitlines()
    assert lines[2].startswith("| base | 2 | 13.1 ± 0.9 |  |") and "| 2.0 | 1.0 | 1.5 |" in lines[2]
    assert "| 1.9 ± 0.0 | -11.2 (" in lines[3] and "no difference" not in lines[3]


def test_equal_systems_have_no_difference(tmp_path):
    base = read_system("base", [[scored(tmp_path / "a", {"en": 20})]], "greedy")
    same = read_system("same", [[scored(tmp_path / "b", {"en": 20})]], "greedy")
    assert difference(base, same, "wer") == (0, 0, 0)
    assert "+0.0 (+0.0 to +0.0), no difference" in table([base, same])


def test_monolingual_runs_form_one_row(tmp_path):
    base = read_system("joint", [[scored(tmp_path / "a", {"en": 8, "it": 8})]], "greedy")
    runs = [scored(tmp_path / "b", {"en": 8}), scored(tmp_path / "c", {"it": 16})]
    apart = read_system("apart", [runs], "greedy")
    assert difference(base, apart, "wer")[0] == pytest.approx(8 / 320)
    assert "| 4.0 | 2.0 | 1.5 |" in table([base, apart])  # their times add up, their memory does not
    assert difference(base, read_system("half", [runs[:1]], "greedy"), "wer") is None  # another task


def test_sets_without_references_answer_nothing(tmp_path):
    run = scored(tmp_path / "a", {"en": 8, "it": 8})
    for name in ("ref.trn", "hyp.trn"):
        (run / "decode_greedy/it/asr" / name).write_text("")
    assert read_system("half", [[run]], "greedy").scores("wer") == pytest.approx([8 / 160])


def test_objectives_are_chosen_where_several_answer_one_set(tmp_path):
    run = scored(tmp_path / "a", {"en": 8})
    shutil.copytree(run / "decode_greedy/en/asr", run / "decode_greedy/en/asr_by_language")
    with pytest.raises(UserError, match="another objective has texts of en too; choose one"):
        read_system("all", [[run]], "greedy")
    assert read_system("one", [[run]], "greedy", ["asr_by_language"]).scores("wer") == pytest.approx([8 / 160])
    with pytest.raises(UserError, match="no texts of lid there; --objectives may name asr, asr_by_language"):
        main([f"x={run}", "--objectives", "lid"])


def test_what_cannot_be_compared_is_refused(tmp_path):
    with pytest.raises(UserError, match="nowhere: not scored with the search greedy"):
        read_system("x", [[tmp_path / "nowhere"]], "greedy")
    base = read_system("base", [[scored(tmp_path / "a", {"en": 8})]], "greedy")
    second = read_system("other", [[scored(tmp_path / "b", {"en": 8}, drop=3)]], "greedy")
    with pytest.raises(UserError, match="base and other were scored on different utterances of en"):
        difference(base, second, "wer")
    seeds = read_system("seeds", [[tmp_path / "a"], [tmp_path / "b"]], "greedy")
    with pytest.raises(UserError, match="seeds: not every seed was scored on the same utterances of en"):
        seeds.pooled("wer")
    with pytest.raises(UserError, match="another objective has texts of en too"):
        read_system("twice", [[tmp_path / "a", tmp_path / "b"]], "greedy")
    (tmp_path / "a/decode_greedy/en/asr/hyp.trn").unlink()
    with pytest.raises(UserError, match="hyp.trn: missing; run stage 6"):
        read_system("base", [[tmp_path / "a"]], "greedy")


def test_the_command(tmp_path, capsys):
    first, second, third = (scored(tmp_path / name, {"en": count}) for name, count in (("a", 8), ("b", 2), ("c", 4)))
    assert main([f"base={first}", f"good={second}", f"good={third}"]) == 0
    assert "| good | 2 | 1.9 ± 0.9 |" in capsys.readouterr().out
    with pytest.raises(UserError, match="write NAME=FOLDER"):
        main([str(first)])
