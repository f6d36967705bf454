"""Translation scores: sacrebleu's own, from statistics that add up."""

from __future__ import annotations

import pytest
import sacrebleu

from m2asr.score.translation import translation_scores

REFERENCES = ["Please enter your extension, followed by pound.", "Thank you for calling.", "All circuits are busy now."]
HYPOTHESES = ["Please enter the extension followed by pound.", "Thanks for calling.", "all circuits busy"]


def test_scores_are_those_of_sacrebleu():
    bleu = translation_scores("bleu", REFERENCES, HYPOTHESES, "en")
    chrf = translation_scores("chrf", REFERENCES, HYPOTHESES, "en")
    assert bleu.score == pytest.approx(sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score)
    assert chrf.score == pytest.approx(sacrebleu.corpus_chrf(HYPOTHESES, [REFERENCES]).score)
    assert bleu.signature.startswith("BLEU|nrefs:1") and "tok:13a" in bleu.signature
    assert chrf.signature.startswith("chrF2|nrefs:1") and "nc:6" in chrf.signature


@pytest.mark.parametrize(
    ("lang", "tokenizer", "reference", "hypothesis"),
    [
        ("ja", "char", "駅まで歩いて五分かかりますので、ゆっくり行きましょう。", "駅まで歩いて五分かかりますから、ゆっくり行きましょう。"),
        ("jpn_Jpan", "char", "明日は雨が降るでしょう。", "明日は雪が降るでしょう。"),
        ("zh-CN", "zh", "你好，世界今天天气很好，我们去公园吧。", "你好，世界今天天气真好，我们去公园吧。"),
        ("yue", "zh", "我哋聽日去公園行下啦。", "我哋聽日去公園行吓啦。"),
        ("th-TH", "char", "วันนี้อากาศดีมากเราไปสวนกัน", "วันนี้อากาศดีเราไปสวนกัน"),
        ("km", "char", "ខ្ញុំស្រឡាញ់ភាសាខ្មែរ", "ខ្ញុំស្រលាញ់ភាសាខ្មែរ"),
        ("bo", "char", "བོད་སྐད་ནི་བོད་མིའི་སྐད་ཡིག་ཡིན།", "བོད་སྐད་ནི་བོད་མིའི་སྐད་ཡིན།"),
        ("zh-min-nan", "zh", "我明仔載欲去公園行踏。", "我明仔載欲去公園行行。"),
        ("ko", "13a", "오늘은 날씨가 아주 좋습니다.", "오늘은 날씨가 아주 좋습니다."),
        ("ja-Latn", "13a", "ashita wa ame ga furu", "ashita wa ame ga furu"),
    ],
)
def test_near_perfect_translations_score_high_in_every_script(lang, tokenizer, reference, hypothesis):
    bleu = translation_scores("bleu", [reference], [hypothesis], lang)
    assert bleu.score > 50 and f"tok:{tokenizer}|" in bleu.signature


def test_statistics_of_sentences_add_up():
    for kind in ("bleu", "chrf"):
        together = translation_scores(kind, REFERENCES, HYPOTHESES, "en")
        first_two = translation_scores(kind, REFERENCES[:2], HYPOTHESES[:2], "en")
        assert together.score_of(together.statistics[:2].sum(0)) == pytest.approx(first_two.score)


def test_case_and_punctuation_count():
    exact = translation_scores("chrf", REFERENCES, REFERENCES, "en")
    lower = translation_scores("chrf", REFERENCES, [text.lower() for text in REFERENCES], "en")
    assert exact.score == pytest.approx(100) and lower.score < 100
