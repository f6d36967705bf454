"""Numbers chosen on the dev sets: every combination once, the best by what is told, the test sets never looked at."""

from __future__ import annotations

import pytest

from m2asr.config import DecodeConfig
from m2asr.data.directory import read_table, write_table
from m2asr.decode.recognize import SearchSetup, Task, recognize
from m2asr.decode.run import decode
from m2asr.decode.search import readers
from m2asr.decode.text_models import TextModels, make_models
from m2asr.decode.tuning import combinations, dev_error, open_numbers, tune
from m2asr.errors import UserError
from m2asr.score.error_rate import character_errors, word_errors
from m2asr.score.translation import translation_scores
from m2asr.text.normalize import normalize


def search(**options) -> DecodeConfig:
    return DecodeConfig.model_validate({"name": "tuned", "method": "prefix_beam", "beam": 4, **options})


def reader_of(trained, target):
    return readers(trained.config, "joint" if target == "att_it" else "prefix_beam")[target]


def tuned(run, config, target):
    """The chosen settings, and the table of what was tried, best first."""
    trained = run.load()
    reader = reader_of(trained, target)
    models = TextModels(config, run.exp, {reader.tokens: trained.tokenizers[reader.tokens]}, (), "cpu")
    best = tune(trained, config, reader, models)
    path = run.exp / f"decode_tuned/tuning.{target}.tsv"
    return best, [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


def test_combinations_are_the_product_in_the_order_of_the_lists():
    config = search(lm={"weight": [0.5, 1.0]}, bonus=[0.0, 2.0, 1.0], hotwords={"phrases": ["a"], "bonus": 3.0}, ctc_weight=[0.3])
    assert open_numbers(config) == {"lm.weight": [0.5, 1.0], "bonus": [0.0, 2.0, 1.0], "ctc_weight": [0.3]}
    configs = combinations(config)
    assert [(tried.lm.weight, tried.bonus) for tried in configs] == [(0.5, 0.0), (0.5, 2.0), (0.5, 1.0), (1.0, 0.0), (1.0, 2.0), (1.0, 1.0)]
    assert all(tried.ctc_weight == 0.3 and tried.hotwords.bonus == 3.0 and not open_numbers(tried) for tried in configs)
    assert open_numbers(search(bonus=1.0)) == {} and combinations(search(bonus=1.0)) == [search(bonus=1.0)]
    numbers = {"bonus": [1], "ctc_weight": [1], "length_penalty": [1]}
    options = search(lm={"weight": [1]}, hotwords={"phrases": ["a"], "bonus": [1]}, **numbers)
    assert list(open_numbers(options)) == ["lm.weight", "bonus", "hotwords.bonus", "ctc_weight", "length_penalty"]


def recognized(run, config, target):
    """The dev hypotheses of a search without lists, by itself."""
    trained = run.load()
    reader = reader_of(trained, target)
    models = TextModels(config, run.exp, {reader.tokens: trained.tokenizers[reader.tokens]}, (), "cpu")
    name = trained.config.streams[reader.stream].dev[0]
    task = Task({reader.stream: reader}, {reader: SearchSetup(config, models.fusion(config, reader.tokens))})
    batches = trained.batches(name, [reader], config.batch_seconds)
    return recognize(trained.system, {0: task}, batches, trained.tokenizers)[0].texts


@pytest.mark.parametrize("target", ["asr_en", "att_it"])
def test_the_best_is_the_one_with_the_lowest_error_on_dev(run, target, capsys):
    """Every combination has the error rates of a search of its own, the best of them is taken, the table says so."""
    method = "joint" if target == "att_it" else "prefix_beam"
    config = search(method=method, max_ratio=0.3, lm={"weight": [0.0, 2.0], "order": 3}, bonus=[2.0, -4.0])
    list(make_models(config, run.load().config, run.data, run.exp))
    best, (head, *lines) = tuned(run, config, target)
    lang = target.split("_")[1]
    references = read_table(run.data / f"dev_{lang}" / "text")
    expected = {}
    for settings in combinations(config):
        texts = recognized(run, settings, target)
        pairs = [[normalize(text, lang) for text in (table[utt] for utt in references)] for table in (references, texts)]
        expected[str(settings.lm.weight), str(settings.bonus)] = f"{word_errors(*pairs).rate:.4f}", f"{character_errors(*pairs).rate:.4f}"
    assert head == ["lm.weight", "bonus", "error", "other_error"]
    assert {tuple(line[:2]): tuple(line[2:]) for line in lines} == expected
    assert len(set(expected.values())) > 1  # there is something to choose
    assert lines == sorted(lines, key=lambda line: (float(line[2]), float(line[3])))
    assert (str(best.lm.weight), str(best.bonus)) == tuple(lines[0][:2]) and not open_numbers(best)
    out = capsys.readouterr().out
    assert f"tuning.{target}.tsv: 4 combinations of lm.weight, bonus are tried" in out
    assert f"best of 4 on 10 dev utterances: lm.weight {best.lm.weight:g}, bonus {best.bonus:g}" in out


def test_of_equals_the_first_is_taken(run):
    best, (_, *lines) = tuned(run, search(ctc_weight=[0.7, 0.2]), "asr_en")  # changes nothing in prefix beam search
    assert best.ctc_weight == 0.7 and len({tuple(line[1:]) for line in lines}) == 1


def test_translations_are_tuned_by_chrf(run):
    config = search(bonus=[3.0, -4.0, 0.0])
    best, (head, *lines) = tuned(run, config, "st_it_en")
    references = read_table(run.data / "dev_it/text.en")
    expected = {}
    for settings in combinations(config):
        texts = recognized(run, settings, "st_it_en")
        chrf = translation_scores("chrf", list(references.values()), [texts[utt] for utt in references], "en").score
        expected[str(settings.bonus)] = f"{100 - chrf:.4f}"
    assert head == ["bonus", "100-chrf"] and dict(lines) == expected
    assert str(best.bonus) == min(expected, key=lambda bonus: float(expected[bonus]))


def test_characters_count_where_no_spaces_are_written():
    assert dev_error(["你好 吗", "好"], ["你号吗", "好"], ["zh", "zh-TW"], True) == (0.25, 0.25)
    assert dev_error(["你好 吗", "hold on"], ["你号吗", "hold"], ["zh", "en"], True)[0] == 2 / 5  # of 3 characters and 2 words
    assert dev_error(["Twenty one!"], ["21"], ["en"], True) == (0.0, 0.0)  # normalized, as for the scores


def test_the_test_sets_are_never_looked_at(run):
    """Neither their texts nor whether they are there; what is written for them depends on dev alone."""
    config = search(bonus=[2.0, -3.0])
    expected = tuned(run, config, "asr_en")
    for name in ("test_en", "test_it"):
        for folder in (run.data, run.dump):
            for path in (folder / name).iterdir():
                path.write_bytes(b"\xff\0") if path.is_file() else None
    assert tuned(run, config, "asr_en") == expected


def test_other_test_references_change_nothing(run):
    outputs = []
    for text in (None, "completely other words"):
        if text:
            write_table(run.data / "test_en/text", dict.fromkeys(read_table(run.data / "test_en/text"), text))
        decode(run.load(), [search(bonus=[2.0, -3.0])], ["test_en"])
        out = run.exp / "decode_tuned"
        outputs.append(((out / "tuning.asr_en.tsv").read_bytes(), (out / "test_en/asr_en/text").read_bytes()))
    assert outputs[0] == outputs[1]


def test_numbers_are_chosen_for_every_reader_alone(run):
    config = search(lm={"order": 2, "weight": [0.3, 3.0]}, bonus=[3.0, -4.0])
    list(make_models(config, run.load().config, run.data, run.exp))
    decode(run.load(), [config], ["test_it"])
    names = {path.name for path in (run.exp / "decode_tuned").glob("*.tsv")}
    assert names == {"tuning.asr_it.tsv", "tuning.st_it_en.tsv"}


@pytest.mark.parametrize("how", ["no dev", "no text", "empty texts"])
def test_without_dev_references_there_is_nothing_to_choose_by(run, how):
    trained = run.load()
    if how == "no dev":
        trained.config.streams["it"].dev = []
    elif how == "no text":
        (run.data / "dev_it/text.en").unlink()
    else:
        write_table(run.data / "dev_it/text.en", dict.fromkeys(read_table(run.data / "dev_it/text.en"), ""))
    config = search(bonus=[0.0, 1.0], length_penalty=[0.0, 1.0])
    reader = reader_of(trained, "st_it_en")
    message = "search tuned: bonus, length_penalty are to be chosen on dev sets, but streams.it has none with text.en; give numbers"
    with pytest.raises(UserError, match=message):
        tune(trained, config, reader, TextModels(config, run.exp, trained.tokenizers, (), "cpu"))
    assert not (run.exp / "decode_tuned").exists()


def test_a_dev_set_that_was_not_prepared_is_named(run):
    trained = run.load()
    (run.dump / "dev_it/feats.scp").unlink()
    config = search(bonus=[0.0, 1.0])
    with pytest.raises(UserError, match=r"dev_it/feats.scp: no features; run stage 1"):
        tune(trained, config, reader_of(trained, "asr_it"), TextModels(config, run.exp, trained.tokenizers, (), "cpu"))
