"""What stage 2 makes for a search, and what a search takes of it."""

from __future__ import annotations

import gzip

import pytest
import yaml

from m2asr.config import DecodeConfig
from m2asr.data.directory import read_table
from m2asr.decode.text_models import TextModels, make_models, model_folder, read_phrases
from m2asr.decode.token_lm import TokenNgram
from m2asr.decode.word_lm import WordNgram
from m2asr.errors import UserError
from m2asr.lm.ngram import NgramModel
from tests.conftest import command

TOKENIZERS = ["en", "it", "en_cased"]


def search(**options) -> DecodeConfig:
    return DecodeConfig.model_validate({"name": "lm", "method": "prefix_beam", **options})


def make(run, config) -> str:
    trained = run.load()
    return "\n".join(make_models(config, trained.config, run.data, run.exp))


def load_models(run, config, unspaced=()) -> TextModels:
    return TextModels(config, run.exp, run.load().tokenizers, unspaced, "cpu")


def test_every_tokenizer_gets_a_model_of_its_training_texts(run):
    output = make(run, search(lm={"order": 3}))
    tokenizers = run.load().tokenizers
    models = load_models(run, search(lm={"order": 3, "weight": 0.7}))
    assert list(models.models) == TOKENIZERS and not models.hotwords
    for name, (set_name, text) in {"en": ("dev_en", "text"), "it": ("dev_it", "text"), "en_cased": ("dev_it", "text.en")}.items():
        model = models.models[name].model
        assert isinstance(model, TokenNgram) and model.vocab == tokenizers[name].size
        lm = NgramModel.load(run.exp / "lm/lm" / name / "lm.bin")
        texts = [tokenizers[name].encode(line) for line in read_table(run.data / set_name / text).values()]
        sentences = [[tokenizers[name].tokens[token] for token in tokens] for tokens in texts]
        log_prob = sum(sum(lm.sentence(words)) for words in sentences) / sum(len(words) + 1 for words in sentences)
        assert log_prob > -2.0  # its own texts are likely
        assert f"lm: {name}\n" in output and f"lm/{name}/lm.bin" in output
        assert f"text: {len([words for words in sentences if words])} sentences" in output
    fusion = models.fusion(search(lm={"weight": 0.7}, bonus=1.5), "it")
    assert [weight for weight, _ in fusion.models] == [0.7] and fusion.bonus == 1.5


def test_words_texts_every_and_arpa_files(run, tmp_path):
    (tmp_path / "more.txt").write_text("hold the line\nplease wait\n" * 10)
    with gzip.open(tmp_path / "it.txt.gz", "wt") as file:
        file.write("pronto chi parla\nattenda in linea\n" * 10)
    texts = {"en": [str(run.data / "dev_en"), str(tmp_path / "more.txt")], "it": [str(tmp_path / "it.txt.gz")]}
    output = make(run, search(lm={"unit": "words", "order": 2, "texts": texts, "every": 2}))
    models = load_models(run, search(lm={"unit": "words"}))
    assert all(isinstance(table.model, WordNgram) for table in models.models.values())
    words = models.models["it"].model.model.words
    assert set(words) == {"<unk>", "<s>", "</s>", "pronto", "chi", "parla"}  # every second line
    assert "line" in models.models["en"].model.model.words and "pronto" not in models.models["en"].model.model.words
    assert "text: 10 sentences, 30 words" in output

    arpa = str(run.exp / "lm/lm/it/lm.arpa.gz")
    config = search(name="arpa", lm={"unit": "words", "order": 1, "arpa": {"it": arpa}})
    output = make(run, config)
    assert "arpa: it\n  1-grams: 6\n  2-grams:" in output and not (run.exp / "lm/arpa/it/lm.arpa.gz").exists()
    first, second = (NgramModel.load(model_folder(run.exp, name, "it") / "lm.bin") for name in ("lm", "arpa"))
    assert first.sentence(["pronto", "parla"]) == pytest.approx(second.sentence(["pronto", "parla"]), abs=1e-5)
    assert first.order == second.order == 2 and NgramModel.load(run.exp / "lm/arpa/en/lm.bin").order == 1


def test_a_search_without_a_model_says_so(run):
    assert make(run, search(bonus=1.0)) == "lm: no language model" and not (run.exp / "lm").exists()
    assert not load_models(run, search(bonus=1.0)).fusion(search(bonus=0.0), "en")


def test_n_grams_that_are_rare_are_left_out(run):
    make(run, search(lm={"order": 3}))
    make(run, search(name="pruned", lm={"order": 3, "prune": [0, 1]}))
    sizes = [len(NgramModel.load(run.exp / "lm" / name / "en/lm.bin").keys) for name in ("lm", "pruned")]
    assert 0.3 * sizes[0] < sizes[1] < 0.7 * sizes[0]


@pytest.mark.parametrize("option", ["texts", "arpa"])
def test_a_tokenizer_that_there_is_not_is_named(run, option):
    value = ["x"] if option == "texts" else "x"
    with pytest.raises(UserError, match=f"search lm: lm.{option}.de: no objective writes with .*; there are en, it, en_cased"):
        make(run, search(lm={option: {"de": value, "en": value}}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"texts": {"en": ["nowhere.txt"]}}, "nowhere.txt: no such file or folder"),
        ({"arpa": {"en": "nowhere.arpa"}}, "nowhere.arpa: "),
        ({"arpa": {"en": "README.md"}}, r"README.md:\d+: "),
        ({"texts": {"en": ["tests/lm/__init__.py"]}}, "tests/lm/__init__.py: no text to estimate"),
    ],
)
def test_what_cannot_be_read_is_named(run, options, message):
    with pytest.raises(UserError, match=message):
        make(run, search(lm=options))
    assert not (run.exp / "lm/lm/en/lm.bin").exists()


def test_a_missing_tokenizer_is_named(run):
    trained = run.load()
    (run.exp / "tokens/it/tokens.txt").unlink()
    with pytest.raises(UserError, match=r"tokens/it: not a readable tokenizer .*; run stage 2 \(tokens\)"):
        list(make_models(search(lm={}), trained.config, run.data, run.exp))


def test_a_missing_model_says_which_stage_makes_it(run):
    with pytest.raises(UserError, match=r"lm/lm/en/lm.bin: no language model for the search lm; run stage 2 \(lm\) first"):
        load_models(run, search(lm={}))


def test_a_damaged_model_is_named(run):
    make(run, search(lm={"order": 2}))
    path = run.exp / "lm/lm/it/lm.bin"
    content = path.read_bytes()
    for wrong in (b"", b"no model", content[: len(content) // 2], content[:40], bytes(len(content)), content + b"x"):
        path.write_bytes(wrong)
        with pytest.raises(UserError, match=r"lm/lm/it/lm.bin: .*m2asr.bin.lm"):
            load_models(run, search(lm={}))


def test_a_model_of_another_tokenizer_is_refused(run):
    make(run, search(lm={"order": 2}))
    path = run.exp / "lm/lm/it/lm.bin"
    path.write_bytes((run.exp / "lm/lm/en/lm.bin").read_bytes())
    with pytest.raises(UserError, match=r"lm/lm/it/lm.bin: a model of different tokens: it lacks \d+ of the 37"):
        load_models(run, search(lm={}))
    make(run, search(lm={"order": 2, "unit": "words"}))
    with pytest.raises(UserError, match="use it as a model of words"):
        load_models(run, search(lm={}))


def test_hot_words_of_a_list_and_of_a_file(run, tmp_path):
    (tmp_path / "names").write_text("  anna  rossi\n\nanna rossi\nmilano\n", encoding="utf-8")
    config = search(hotwords={"phrases": ["please hold", "milano"], "file": str(tmp_path / "names"), "bonus": 2.0})
    assert read_phrases(config) == ["please hold", "milano", "anna rossi"]
    models = load_models(run, config)
    assert list(models.hotwords) == TOKENIZERS and not models.models
    assert [weight for weight, _ in models.fusion(config, "en").models] == [2.0]


@pytest.mark.parametrize("content", [None, b"caf\xe9\n"])
def test_a_file_of_hot_words_that_cannot_be_read_is_named(run, tmp_path, content):
    if content:
        (tmp_path / "names").write_bytes(content)
    with pytest.raises(UserError, match=r"search lm: hotwords.file: .*names: cannot read this file: .*; name a text file with a phrase"):
        load_models(run, search(hotwords={"file": str(tmp_path / "names")}))


def test_hot_words_count_where_they_can_be_written(run, capsys):
    """One that no tokenizer can write is an error, one that some cannot is told."""
    with pytest.raises(UserError, match="hot word `анна`: the tokenizer cannot write the letters а н"):
        load_models(run, search(hotwords={"phrases": ["milano", "анна"]}))
    models = load_models(run, search(hotwords={"phrases": ["milano", "Milan"]}))
    errors = capsys.readouterr().err
    assert "warning: search lm: 1 of 2 hot words have letters that the tokenizer en does not know (Milan); they count for" in errors
    assert errors.count("\n") == 2 and "en_cased" not in errors
    assert list(models.hotwords) == TOKENIZERS


def test_the_command_makes_the_models_of_several_searches(run, tmp_path):
    (tmp_path / "greedy.yaml").write_text("{}")
    (tmp_path / "lm.yaml").write_text("{name: lm, method: prefix_beam, lm: {order: 3}}")
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(run.load().config.model_dump(mode="json")))
    options = "--train_config", tmp_path / "train.yaml", "--data", run.data, "--exp", run.exp
    process = command("search_models", "--config", tmp_path / "greedy.yaml", tmp_path / "lm.yaml", *options)
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("greedy: no language model\nlm: en\n") and process.stdout.count("wrote") == 3
    assert {path.parent.name for path in run.exp.glob("lm/lm/*/lm.bin")} == set(TOKENIZERS)
    process = command("search_models", "--config", tmp_path / "lm.yaml", tmp_path / "lm.yaml", *options)  # the second would overwrite it
    assert process.returncode == 1 and process.stderr == "error: two searches have the name lm; give each config a name of its own\n"
    (tmp_path / "lm.yaml").write_text("{name: lm, method: prefix_beam, lm: {oder: 3}}")
    process = command("search_models", "--config", tmp_path / "lm.yaml", *options)
    assert process.returncode == 1 and process.stderr.count("\n") == 1 and "lm.oder: unknown key; did you mean `order`?" in process.stderr
