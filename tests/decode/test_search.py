"""Which heads read what: one reader per target, pairs of CTC and attention, and routes by language."""

from __future__ import annotations

import math

import pytest
import torch

from m2asr.config import DecodeConfig
from m2asr.decode import search as search_module
from m2asr.decode.beam import beam_search
from m2asr.decode.encode import encode_batch
from m2asr.decode.fusion import Fusion
from m2asr.decode.recognize import SearchSetup, Task, recognize
from m2asr.decode.routes import language_id, routes, unread_problem
from m2asr.decode.search import readers, search
from m2asr.errors import UserError
from tests.objectives import build

DECODER = {"type": "transformer", "blocks": 1, "dim": 8, "heads": 2}
X, Y = {"stream": "x", "tokens": "a"}, {"stream": "y", "tokens": "b"}
OBJECTIVES = {
    "ctc_x": {"type": "ctc", **X},
    "att_x": {"type": "attention", **X, "decoder": DECODER},
    "ctc_y": {"type": "ctc", **Y},
    "st_y": {"type": "attention", **Y, "text": "text.x", "decoder": DECODER},
    "lid": {"type": "langid", "stream": "raw", "languages": ["x", "y", "z"]},
}
MODULES = {"texts": {"type": "lstm_predictor", "layers": 1, "dim": 8}, "join": {"type": "joiner", "dim": 8}}
TRANSDUCERS = {
    "rnnt_x": {"type": "transducer", **X, "predictor": "texts", "joiner": "join"},
    "rnnt_z": {"type": "transducer", "stream": "y", "tokens": "a", "predictor": "texts", "joiner": "join", "max_symbols": 2},
}
PAIRED = {name: objective for name, objective in OBJECTIVES.items() if name != "st_y"}
STREAMS = {"x": {"sets": ["x"], "lang": "x"}, "y": {"sets": ["y"], "lang": "y"}, "raw": {"sets": ["x", "y"]}}


def config(objectives=None):
    return build.config(objectives=objectives or OBJECTIVES, streams=STREAMS, penalty=None)


@pytest.mark.parametrize("method, expected", [("greedy", ["ctc_x", "ctc_y", "st_y"]), ("attention", ["att_x", "ctc_y", "st_y"])])
def test_every_target_has_one_reader(method, expected):
    targets = readers(config(), method)
    assert sorted(targets) == sorted(expected)
    assert targets["st_y"].attention == "st_y" and targets["st_y"].ctc is None


@pytest.mark.parametrize("method", ["joint", "rescoring"])
def test_pairs_of_ctc_and_attention(method):
    targets = readers(config(PAIRED), method)
    assert targets["att_x"].ctc == "ctc_x" and sorted(targets) == ["att_x", "ctc_y"]
    with pytest.raises(UserError, match="objectives.st_y has no CTC objective .* stream: y, tokens: b, text: text.x.* method: attention"):
        readers(config(), method)


@torch.no_grad()
@pytest.mark.parametrize("upsampling", [1, 2])
@pytest.mark.parametrize("method", ["greedy", "prefix_beam", "attention", "joint", "rescoring"])
def test_every_method_gives_what_each_utterance_gets_alone(method, upsampling):
    changes = {name: {**objective, "upsampling": upsampling} for name, objective in PAIRED.items() if objective["type"] == "ctc"}
    system = build.system(objectives=PAIRED | changes, streams=STREAMS, penalty=None).eval()
    options = DecodeConfig(method=method, beam=3, max_ratio=0.3)
    both = build.batch([120, 60], {})
    for reader in readers(config(PAIRED | changes), method).values():
        together = search(system, reader, encode_batch(system, both), options)
        check_alone(system, reader, options, both, together)


def check_alone(system, reader, options, both, together):
    """The two utterances of 120 and 60 frames get alone what they got together."""
    for row, frames in enumerate([120, 60]):
        alone = build.batch([frames], {})
        alone.inputs["feats"] = both.inputs["feats"][row : row + 1, :frames]
        (hypothesis,) = search(system, reader, encode_batch(system, alone), options)
        assert hypothesis.tokens == together[row].tokens
        assert hypothesis.score == pytest.approx(together[row].score, abs=1e-9)


def transducing(**objectives):
    """The config of a system with transducers beside other heads."""
    model = build.config().model.model_dump() | MODULES
    return {"objectives": {**TRANSDUCERS, **objectives}, "streams": STREAMS, "model": model, "penalty": None}


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("greedy", ["ctc_x", "rnnt_z"]),
        ("prefix_beam", ["ctc_x", "rnnt_z"]),
        ("transducer", ["rnnt_x", "rnnt_z"]),
        ("attention", ["att_x", "rnnt_z"]),
        ("joint", ["att_x", "rnnt_z"]),
    ],
)
def test_a_transducer_writes_what_no_other_head_writes_or_what_it_is_asked_for(method, expected):
    targets = readers(build.config(**transducing(ctc_x=OBJECTIVES["ctc_x"], att_x=OBJECTIVES["att_x"])), method)
    assert sorted(targets) == expected and targets["rnnt_z"].transducer == targets["rnnt_z"].name == "rnnt_z"
    lead = {"rnnt_w": {**TRANSDUCERS["rnnt_x"], "tap": "block1"}, "rnnt_v": {**TRANSDUCERS["rnnt_x"], "lead": True}}
    assert "rnnt_v" in readers(build.config(**transducing(**lead)), "transducer")


@torch.no_grad()
@pytest.mark.parametrize("method", ["greedy", "prefix_beam", "transducer", "joint"])
def test_a_transducer_gives_what_each_utterance_gets_alone(method):
    changes = transducing()
    system, options = build.system(**changes).eval(), DecodeConfig(method=method, beam=3)
    system.join.output.bias[0] -= 1.0  # fewer blanks
    both = build.batch([120, 60, 5], {})  # 5 frames give no state
    for reader in readers(build.config(**changes), method).values():
        head = system.objectives[reader.transducer]
        encoded = encode_batch(system, both)
        together = search(system, reader, encoded, options)
        assert together[2].tokens == [] and any(hypothesis.tokens for hypothesis in together)
        assert all(len(hypothesis.tokens) <= head.max_symbols * size for hypothesis, size in zip(together, encoded.lengths, strict=True))
        check_alone(system, reader, options, both, together)


@torch.no_grad()
@pytest.mark.parametrize("method", ["greedy", "prefix_beam", "transducer", "attention", "joint", "rescoring"])
def test_an_utterance_whose_scores_are_not_finite_is_named_and_its_neighbour_keeps_its_text(method, capsys):
    changes = transducing(ctc_x=OBJECTIVES["ctc_x"], att_x=OBJECTIVES["att_x"])
    system, options = build.system(**changes).eval(), DecodeConfig(method=method, beam=3, max_ratio=0.3)
    reader = next(iter(readers(build.config(**changes), method).values()))
    task = Task({"x": reader}, {reader: SearchSetup(options, Fusion())})
    texts = []
    for broken in (False, True):
        batch = build.batch([60, 120], {"a:text": [[2], [3]]})
        batch.lang = ["x", "x"]
        if broken:
            batch.inputs["feats"][0] = math.nan
        texts.append(recognize(system, {"task": task}, [batch], {"a": Spelled()})["task"].texts)
    first, second = batch.utt_ids
    assert texts[0][second] == texts[1][second]
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 1 and warnings[0].startswith(f"warning: {first}: its scores are not finite, so its text is meaningless")


class Spelled:
    """A tokenizer that writes numbers."""

    def decode(self, tokens):
        return " ".join(map(str, tokens))


@torch.no_grad()
@pytest.mark.parametrize("method", ["attention", "joint"])
def test_an_early_stop_reckons_with_bonuses(method, monkeypatch):
    """The beam search of a decoder is told how much a token can add at most."""
    gains = []

    def watched(*args):
        gains.append(args[5])
        return beam_search(*args)

    monkeypatch.setattr(search_module, "beam_search", watched)
    system = build.system(objectives=PAIRED, streams=STREAMS, penalty=None).eval()
    encoded = encode_batch(system, build.batch([60], {}))
    reader = readers(config(PAIRED), method)["att_x"]
    for bonus in (-1.0, 0.0, 2.5):
        search(system, reader, encoded, DecodeConfig(method=method, beam=3, max_ratio=0.3), Fusion(bonus=bonus))
    assert gains == [0.0, 0.0, 2.5]


def test_routes_follow_the_known_language():
    targets = routes(config(), readers(config(), "greedy"), ["y"])
    assert list(targets) == ["ctc_y", "st_y"]  # whether or not there are references
    route = targets["ctc_y"]
    assert route.language == "oracle" and list(route.readers) == ["y"] and route.train_sets == ["y"]
    assert route.task == {"task": "asr", "lang": "y", "source": "y", "text": "text"}


def names(route):
    return {lang: reader.attention or reader.ctc for lang, reader in route.readers.items()}


def test_routes_follow_the_predicted_language():
    system = build.system(objectives=OBJECTIVES, streams=STREAMS, penalty=None)
    langid = language_id(config(), system)
    route = routes(config(), readers(config(), "attention"), ["y"], langid)["ctc_y"]
    assert names(route) == {"y": "ctc_y", "x": "att_x"} and route.language == "predicted"
    for languages in (["und"], ["x", "y"]):  # the same heads, which none leads
        targets = routes(config(), readers(config(), "attention"), languages, langid)
        assert list(targets) == ["asr_by_language", "st_x_by_language"]
        route = targets["asr_by_language"]
        assert names(route) == {"x": "att_x", "y": "ctc_y"} and route.task["source"] == "+".join(languages)


def test_heads_of_several_languages_share_a_set():
    targets = routes(config(), readers(config(), "greedy"), ["und", "x", "y"])
    assert names(targets["asr_by_language"]) == {"x": "ctc_x", "y": "ctc_y"} and targets["asr_by_language"].train_sets == ["x", "y"]
    assert names(targets["st_x_by_language"]) == {"y": "st_y"} and targets["st_x_by_language"].language == "oracle"
    assert routes(config(), readers(config(), "greedy"), ["und"]) == {}


def test_every_head_of_a_language_gives_an_answer():
    objectives = {"one": {"type": "ctc", **X}, "two": {"type": "ctc", "stream": "x", "tokens": "b"}, "ctc_y": OBJECTIVES["ctc_y"]}
    targets = routes(config(objectives), readers(config(objectives), "greedy"), ["x"])
    assert {name: names(route) for name, route in targets.items()} == {"one": {"x": "one"}, "two": {"x": "two"}}


def test_a_head_for_all_languages_needs_none():
    objectives = {"all": {"type": "ctc", "stream": "raw", "tokens": "a"}, "lid": OBJECTIVES["lid"]}
    langid = language_id(config(objectives), build.system(objectives=objectives, streams=STREAMS, penalty=None))
    for languages in (["y"], ["und"], ["x", "y"]):
        for spotter, more in ((None, set()), (langid, {"x", "y", "z"})):
            route = routes(config(objectives), readers(config(objectives), "greedy"), languages, spotter)["all"]
            assert route.language == "predicted" and set(route.readers) == {*languages, *more}


def test_languages_without_a_head_are_told():
    heads = readers(config(PAIRED), "greedy")
    languages = {"a": ["x", "und"], "b": ["de"]}
    chosen_routes = {name: routes(config(PAIRED), heads, spoken) for name, spoken in languages.items()}
    message = unread_problem(config(PAIRED), heads, languages, chosen_routes)
    assert message.startswith("no head reads und (a), de (b); there are heads for x, y;") and "language: predicted" in message
    without_langid = {name: objective for name, objective in PAIRED.items() if name != "lid"}
    assert "train an objective langid" in unread_problem(config(without_langid), heads, languages, chosen_routes)
    assert unread_problem(config(PAIRED), heads, {"c": ["x"]}, {"c": routes(config(PAIRED), heads, ["x"])}) == ""


def test_predicted_languages_need_a_langid_objective():
    objectives = {"ctc_x": OBJECTIVES["ctc_x"]}
    torch.manual_seed(0)
    with pytest.raises(UserError, match="langid"):
        language_id(config(objectives), build.system(objectives=objectives, streams=STREAMS, penalty=None))
