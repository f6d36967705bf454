"""report.html: it shows what was scored, is whole in itself, and runs in a browser where there is one."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser

import pytest

from m2asr.data.directory import read_table, write_table
from m2asr.score.error_page import write_page
from m2asr.score.evaluate import score_folder
from m2asr.score.report import mean_rows

NASTY = 'x"><script>alert(1)</script>'
BROWSER = shutil.which("chromium")


class Reader(HTMLParser):
    """The elements of a page with their attributes, and the text of its utterances' ids."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.ids, self.script, self._inside = [], [], "", None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "h3":
            self.ids.append("")

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside == "h3":
            self.ids[-1] += data
        elif self._inside == "script":
            self.script += data

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture
def scored(mini_data, tmp_path):
    """Folders of two searches on Italian recognition and of one on its translation, all scored, with their rows."""
    folders, rows = [], []
    for search, task, lang, text in (("greedy", "asr", "it", "text"), ("beam", "asr", "it", "text"), ("greedy", "st", "en", "text.en")):
        references = read_table(mini_data / "test_it" / text)
        every = 2 if search == "greedy" else 5
        wrong = {utt: f"{value[:-3]} <b>è" if number % every == 0 else value for number, (utt, value) in enumerate(references.items())}
        out = tmp_path / f"run/decode_{search}/test_it/{task}"
        write_table(out / "text", wrong)
        info = {"objective": task, "set": "test_it", "task": task, "lang": lang, "source": "it", "text": text, "train_sets": ["dev_it"]}
        (out / "info.json").write_text(json.dumps({**info, "language": "oracle", "unrepresentable": 0.0, "search": {"name": search}}))
        folders.append(out)
        rows += score_folder(out, mini_data, 3)
    return folders, rows


def page_of(scored, data, tmp_path, most=1000):
    folders, rows = scored
    results = {"recipe": NASTY, "tag": "run", "decode": ["greedy", "beam"], "min_words": 3, "rows": rows + mean_rows(rows)}
    summary = write_page(tmp_path / "run/report.html", results, folders, data, most)
    return (tmp_path / "run/report.html").read_text(encoding="utf-8"), summary


def test_every_scored_utterance_is_there_once_with_all_its_answers(scored, mini_data, tmp_path):
    text, summary = page_of(scored, mini_data, tmp_path)
    page = Reader(text)
    references = read_table(mini_data / "test_it" / "text")
    translations = read_table(mini_data / "test_it" / "text.en")
    expected = [utt for utt in references if len(references[utt].split()) >= 3 or len(translations.get(utt, "").split()) >= 3]
    articles = page.all("article")
    assert page.ids[-len(expected) :] == expected and len(articles) == len(expected)
    assert len(page.all("audio")) == len(expected) and "without a player" not in summary
    assert f"{len(expected)} utterances; {len(references) - len(expected)} were decoded but not scored" in summary
    answers = [attrs for attrs in page.all("section") if "data-target" in attrs]
    assert len(answers) == sum(row["utterances"] for row in scored[1] if row["metric"] in ("wer", "chrf"))
    wrong = sum(int(attrs["data-errors"]) for attrs in answers if attrs["data-search"] == "beam")
    assert wrong == sum(row["sub"] + row["del"] + row["ins"] for row in scored[1] if row["metric"] == "wer" and row["search"] == "beam")


def test_totals_are_those_of_the_results(scored, mini_data, tmp_path):
    text, _ = page_of(scored, mini_data, tmp_path)
    cells = [" ".join(unescape(re.sub("<[^>]*>", "", cell)).split()) for cell in re.findall("<td[^>]*>.*?</td>", text)]
    for row in scored[1]:
        factor = 100 if row["metric"] in ("wer", "cer") else 1
        low, high = (f"{factor * end:.1f}" for end in row["ci95"])
        assert f"{factor * row['value']:.1f} ({low} – {high})" in cells


def test_nothing_comes_from_elsewhere_and_the_data_is_no_code(scored, mini_data, tmp_path):
    text, _ = page_of(scored, mini_data, tmp_path)
    page = Reader(text)
    assert not [tag for tag, _ in page.elements if tag in ("link", "iframe", "object", "embed", "img", "base")]
    assert {tag for tag, attrs in page.elements if "src" in attrs} == {"audio"}
    assert all(attrs["src"].startswith("file:///") for attrs in page.all("audio"))  # the fixture's wav.scp holds absolute paths
    assert all(attrs["href"].startswith("#") for attrs in page.all("a"))
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on") or name == "style"]
    assert page.all("script") == [{}] and "<b>è" not in text and NASTY not in text
    policy = next(attrs["content"] for attrs in page.all("meta") if "http-equiv" in attrs)
    digest = base64.b64encode(hashlib.sha256(page.script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy


def test_confusions_are_what_the_filter_understands(scored, mini_data, tmp_path):
    text, _ = page_of(scored, mini_data, tmp_path)
    buttons = [unescape(re.sub("<[^>]*>", "", button)) for button in re.findall("<li><button[^>]*>(.*?)</button>", text)]
    assert buttons and all("→" in button for button in buttons)
    assert '<details data-set="test_it" data-target="asr" data-search="beam"' in text


def test_a_page_may_hold_the_worst_only_and_says_so(scored, mini_data, tmp_path):
    text, summary = page_of(scored, mini_data, tmp_path)
    sums = {}
    for attrs in Reader(text).elements:
        if attrs[0] == "article":
            sums[len(sums)] = 0
        elif "data-errors" in attrs[1]:
            sums[len(sums) - 1] += int(attrs[1]["data-errors"])
    text, summary = page_of(scored, mini_data, tmp_path, most=10)
    page = Reader(text)
    errors_shown = sum(int(attrs.get("data-errors", 0)) for attrs in page.all("section"))
    assert len(page.all("article")) == 10 and errors_shown == sum(sorted(sums.values())[-10:])
    assert f"10 utterances; {len(sums) - 10} more have fewer errors and are left out" in summary


def test_sets_without_recordings_or_references_are_no_problem(scored, mini_data, tmp_path):
    data = tmp_path / "texts"
    shutil.copytree(mini_data / "test_it", data / "test_it", ignore=shutil.ignore_patterns("wav.scp"))
    text, summary = page_of(scored, data, tmp_path)
    count = len(Reader(text).all("article"))
    assert f"{count} without a player ({count} not in wav.scp)" in summary and "<audio" not in text
    empty = Reader(page_of(([], []), data, tmp_path)[0])
    assert not empty.all("article") and len(empty.all("script")) == 1


@pytest.mark.skipif(BROWSER is None, reason="needs the browser chromium")
def test_the_script_sorts_in_a_browser(scored, mini_data, tmp_path):
    page_of(scored, mini_data, tmp_path)
    line = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
    line += ["--disable-component-update", f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom", (tmp_path / "run/report.html").as_uri()]
    process = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True)
    page = Reader(process.stdout)
    assert page.all("html")[0]["class"] == "js"
    count = len(page.all("article"))
    assert f">{count} of {count} utterances</output>" in process.stdout
    errors = []
    for tag, attrs in page.elements:
        if tag == "article":
            errors.append(0)
        elif "data-errors" in attrs:
            errors[-1] += int(attrs["data-errors"])
    assert errors == sorted(errors, reverse=True) and errors[0] > errors[-1]
