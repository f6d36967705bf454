"""Text sets of the handbook and of fortune cookies, from small packages: no sentence of dev and test sets is among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from m2asr.corpora.debtexts import PACKAGES, fetch, prepare
from m2asr.data.directory import read_table
from m2asr.data.validate import validate
from m2asr.errors import UserError
from tests.corpora.packages import deb

PAGE = '<html><title>没有</title><body><p>也没有。</p><div class="section"><div class="para">{}</div></div></body></html>'
PAGES = {
    "zh-CN": PAGE.format('第一<code class="x">命令</code>可用。<div>还有这个！</div>\n\t\tThis is not translated. 最后一句')
    + PAGE.format("考试的句子。"),
    "cs-CZ": PAGE.format("Toto je věta. A druhá věta? This is not translated."),
    "en-US": PAGE.format("This is not translated. Another one."),
}
COOKIES = {
    "zh": "第一行\n第二行。下一句！\n\n\x1b[32m《题目》\x1b[m\n床前明月光，疑是地上霜。\n%\n考试 的 句子。\n第一行第二行\n",
    "cs": "Dobrý den,\npane! Jak se máte?\n\t\t-- Seneca\n%\nZkouška je těžká.\n%\nAno.\n",
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """The packages, and the sets whose sentences are held out."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    pages = {f"usr/share/doc/debian-handbook/html/{lang}/apt.html": page.encode() for lang, page in PAGES.items()}
    (folder / PACKAGES["handbook"].file).write_bytes(deb(pages))
    for lang, name in (("zh", "usr/share/games/fortunes/chinese"), ("cs", "usr/share/games/fortunes/cs/citat")):
        files = {name: COOKIES[lang].encode(), f"{name}.dat": b"\x00", f"{Path(name).parent}/klasik-sk": b"Slovensky."}
        (folder / PACKAGES[lang].file).write_bytes(deb(files))
        for split, text in (("dev", "hm"), ("test", {"zh": "考试的句子", "cs": "zkouška je těžká"}[lang])):
            held_out = tmp_path / f"data/{split}_{lang}"
            held_out.mkdir(parents=True)
            (held_out / "text").write_text(f"a {text}\n", encoding="utf-8")
            (held_out / "utt2lang").write_text(f"a {lang}\n")
    return folder


def test_sentences_of_books_and_cookies(corpus: Path) -> None:
    data = corpus.parent / "data"
    report = prepare(corpus, data)
    assert set(read_table(data / "text_zh/text").values()) == {
        "第一命令可用", "还有这个", "最后一句", "第一行第二行", "下一句", "床前明月光疑是地上霜",
    }  # fmt: skip
    assert set(read_table(data / "text_cs/text").values()) == {"toto je věta", "a druhá věta", "dobrý den pane", "jak se máte"}
    for lang in ("zh", "cs"):
        assert not validate(data / f"text_{lang}").problems
        held_out = {text.replace(" ", "") for part in ("dev", "test") for text in read_table(data / f"{part}_{lang}/text").values()}
        assert not held_out & {text.replace(" ", "") for text in read_table(data / f"text_{lang}/text").values()}
    assert "in a held-out set: 2" in report and "in a held-out set: 1" in report and "fewer than 2 words: 1" in report
    again = {lang: (data / f"text_{lang}/text").read_bytes() for lang in ("zh", "cs")}
    prepare(corpus, data)
    assert again == {lang: (data / f"text_{lang}/text").read_bytes() for lang in ("zh", "cs")}


def test_mistakes_are_one_line(corpus: Path) -> None:
    data = corpus.parent / "data"
    with pytest.raises(UserError, match="--parts de: no such part"):
        prepare(corpus, data, ["de"])
    with pytest.raises(UserError, match="test_zh: not there, and its sentences are to be left out; prepare the speech of zh first"):
        (data / "test_zh").rename(data / "other")
        prepare(corpus, data, ["zh"])
    (corpus / PACKAGES["cs"].file).unlink()
    with pytest.raises(
        UserError, match="--parts cs: it is not there; fetch its packages: python -m m2asr.bin.download debtexts --parts cs"
    ):
        prepare(corpus, data, ["cs"])
    (corpus / PACKAGES["handbook"].file).unlink()
    with pytest.raises(UserError, match="no package of debtexts; fetch them"):
        prepare(corpus, data)
    with pytest.raises(UserError, match="--remove_archives: debtexts is prepared from the packages"):
        fetch(corpus, remove=True)
