"""The command score on real texts: tables, files, bars, and missing input."""

from __future__ import annotations

import json

import pytest

from m2asr.data.directory import read_table, write_table
from tests.conftest import command


def write_decoded(folder, mini_data, search, every):
    """Write the results of a search whose recognition and translations have every `every`-th utterance wrong."""
    for task, lang, text, objective in (("asr", "it", "text", "asr_it"), ("st", "en", "text.en", "st_it_en")):
        references = read_table(mini_data / "test_it" / text)
        wrong = {utt: ("niente" if number % every == 0 else value) for number, (utt, value) in enumerate(references.items())}
        out = folder / f"decode_{search}" / "test_it" / objective
        out.mkdir(parents=True)
        write_table(out / "text", wrong)
        info = {"objective": objective, "set": "test_it", "task": task, "lang": lang, "source": "it", "text": text}
        info |= {"train_sets": ["train_it"], "unrepresentable": 0.1 if task == "st" else 0.0, "seconds": 1.0, "audio_seconds": 9.0}
        (out / "info.json").write_text(json.dumps({**info, "language": "oracle", "search": {"name": search}}))


@pytest.fixture
def exp(mini_data, tmp_path):
    """A decoded run with every fifth utterance wrong."""
    write_decoded(tmp_path / "run", mini_data, "greedy", 5)
    return tmp_path / "run"


def run(exp, mini_data, *options, searches=("greedy",)):
    return command("score", "--exp", exp, "--decode", *searches, "--data", mini_data, "--min_words", 3, "--recipe", "mini", *options)


def test_tables_and_files(exp, mini_data):
    result = run(exp, mini_data)
    assert result.returncode == 0, result.stderr
    results = json.loads((exp / "results.json").read_text())
    rows = {(row["task"], row["metric"]): row for row in results["rows"]}
    wer = rows["asr", "wer"]
    assert 0 < wer["ci95"][0] < wer["value"] < wer["ci95"][1] < 1
    assert wer["sub"] + wer["del"] + wer["ins"] == pytest.approx(wer["value"] * wer["ref_tokens"])
    references = read_table(mini_data / "test_it" / "text")
    assert wer["utterances"] == sum(len(text.split()) >= 3 for text in references.values())
    assert wer["baseline"]["value"] > wer["value"]
    assert rows["st", "chrf"]["value"] > rows["st", "chrf"]["baseline"]["value"]
    text = (exp / "RESULTS.md").read_text()
    assert "| greedy | test_it | asr | wer |" in text and "st it-en" in text and "10.0%" in text and "sacrebleu" in text
    folder = exp / "decode_greedy/test_it/asr_it"
    assert (folder / "ref.trn").read_text().count("\n") == wer["utterances"]
    aligned = (folder / "result.txt").read_text()
    assert "REF:" in aligned and "Eval:" in aligned and "it_carlo" in aligned and "NIENTE" in aligned


def test_the_error_page_lies_beside_the_results(exp, mini_data):
    result = run(exp, mini_data)
    assert result.returncode == 0 and f"\n{exp}/report.html: " in result.stdout, result.stderr
    page = (exp / "report.html").read_text()
    assert page.count("<article") == page.count("<audio") > 40 and "niente" in page
    result = run(exp, mini_data, "--page", 5)
    assert "5 utterances; " in result.stdout and (exp / "report.html").read_text().count("<article") == 5
    (exp / "report.html").unlink()
    result = run(exp, mini_data, "--page", 0)
    assert result.returncode == 0 and "report.html" not in result.stdout and not (exp / "report.html").exists()
    result = run(exp, mini_data, "--page", -1)
    assert result.returncode == 2 and "--page: give a whole number from 0" in result.stderr


def test_groups_are_those_of_a_table_of_the_set(exp, mini_data):
    result = run(exp, mini_data, "--by", "spk")
    assert result.returncode == 0 and "| greedy | test_it, it_carlo | asr | wer |" in result.stdout, result.stderr
    results = json.loads((exp / "results.json").read_text())
    assert results["by"] == "spk"
    for row in results["rows"]:
        assert list(row["groups"]) == ["it_carlo"]
        assert all(row[key] == value for key, value in row["groups"]["it_carlo"].items())
    result = run(exp, mini_data, "--by", "accent")
    assert result.returncode == 1 and "test_it/utt2accent: no such table; --by" in result.stderr and result.stderr.count("\n") == 1


def test_bars(exp, mini_data):
    assert run(exp, mini_data, "--check", "wer<=0.99 cer<=0.99").returncode == 0
    result = run(exp, mini_data, "--check", "wer<=0.01")
    assert result.returncode == 1 and "missed: greedy: wer" in result.stdout
    result = run(exp, mini_data, "--check", "wer<0.01")
    assert result.returncode == 2 and "wer<=0.80" in result.stderr
    result = run(exp, mini_data, "--check", "lm.wer<=0.99")
    assert result.returncode == 2 and "searches: greedy" in result.stderr and result.stderr.count("\n") == 1


def test_two_searches_are_scored_side_by_side(exp, mini_data):
    """Each search has its own rows, means and bars, and its numbers do not depend on the other search."""
    assert run(exp, mini_data).returncode == 0
    alone = json.loads((exp / "results.json").read_text())["rows"]
    write_decoded(exp, mini_data, "lm", 50)
    result = run(exp, mini_data, "--check", "greedy.wer<=0.99 lm.wer<=0.05", searches=("greedy", "lm"))
    assert result.returncode == 0 and "reached: lm: wer" in result.stdout, result.stderr
    results = json.loads((exp / "results.json").read_text())
    assert results["decode"] == ["greedy", "lm"]
    assert [row for row in results["rows"] if row["search"] == "greedy"] == alone
    wer = {row["search"]: row["value"] for row in results["rows"] if row["metric"] == "wer"}
    assert 0 < wer["lm"] < wer["greedy"]
    text = (exp / "RESULTS.md").read_text()
    assert "| greedy | test_it | asr | wer |" in text and "| lm | test_it | asr | wer |" in text and "search greedy, lm;" in text
    assert 'data-search="lm"' in (exp / "report.html").read_text()
    result = run(exp, mini_data, "--check", "wer<=0.05", searches=("greedy", "lm"))
    assert result.returncode == 1 and "missed: greedy: wer" in result.stdout and "reached: lm: wer" in result.stdout
    result = run(exp, mini_data, searches=("greedy", "beam"))
    assert result.returncode == 1 and "decode_beam: nothing decoded there; run stage 5" in result.stderr and result.stderr.count("\n") == 1


def test_the_results_have_numbers_of_the_training_and_commands(exp, mini_data):
    (exp / "train_info.json").write_text(json.dumps({"params": 2_100_000, "train_seconds": 600.0, "audio_seconds": 7200.0, "seed": 7}))
    result = run(exp, mini_data, "--command", "./run.sh --tag run")
    assert result.returncode == 0 and "2.10 M parameters; trained 10.0 min over 2.0 h of audio; seed 7" in result.stdout
    assert json.loads((exp / "results.json").read_text())["seed"] == 7
    assert "\n```bash\n./run.sh --tag run\n```\n" in (exp / "RESULTS.md").read_text()
    assert run(exp, mini_data, "--by", "spk").returncode == 0
    this = f"python -m m2asr.bin.score --exp {exp} --decode greedy --data {mini_data} --min_words 3 --recipe mini --by spk"
    assert f"\n```bash\n{this}\n```\n" in (exp / "RESULTS.md").read_text()


def test_an_utterance_that_was_not_decoded_is_named(exp, mini_data):
    path = exp / "decode_greedy/test_it/asr_it/text"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[1:]))
    result = run(exp, mini_data)
    assert result.returncode == 1
    assert lines[0].split()[0] in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_nothing_decoded(tmp_path, mini_data):
    result = run(tmp_path, mini_data)
    assert result.returncode == 1 and "stage 5" in result.stderr
