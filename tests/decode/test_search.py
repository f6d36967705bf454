"""Which heads read what: one reader per target, pairs of CTC and attention, and routes by language."""

from __future__ import annotations

import pytest
import torch

from m2asr.config import DecodeConfig
from m2asr.decode.routes import language_id, routes
from m2asr.decode.search import readers, search
from m2asr.errors import UserError
from m2asr.objectives.view import View
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
PAIRED = {name: one for name, one in OBJECTIVES.items() if name != "st_y"}
STREAMS = {"x": {"sets": ["x"], "lang": "x"}, "y": {"sets": ["y"], "lang": "y"}, "raw": {"sets": ["x", "y"]}}


def config(objectives=None):
    return build.config(objectives=objectives or OBJECTIVES, streams=STREAMS, penalty=None)


@pytest.mark.parametrize("method, expected", [("greedy", ["ctc_x", "ctc_y", "st_y"]), ("attention", ["att_x", "ctc_y", "st_y"])])
def test_every_target_has_one_reader(method, expected):
    found = readers(config(), method)
    assert sorted(found) == sorted(expected)
    assert found["st_y"].attention == "st_y" and found["st_y"].ctc is None


@pytest.mark.parametrize("method", ["joint", "rescoring"])
def test_pairs_of_ctc_and_attention(method):
    found = readers(config(PAIRED), method)
    assert found["att_x"].ctc == "ctc_x" and sorted(found) == ["att_x", "ctc_y"]
    with pytest.raises(UserError, match="objectives.st_y has no CTC objective .* stream: y, tokens: b, text: text.x.* method: attention"):
        readers(config(), method)


@torch.no_grad()
@pytest.mark.parametrize("method", ["greedy", "prefix_beam", "attention", "joint", "rescoring"])
def test_every_method_gives_what_each_utterance_gets_alone(method):
    system = build.system(objectives=PAIRED, streams=STREAMS, penalty=None).eval()
    options = DecodeConfig(method=method, beam=3, max_ratio=0.3)
    both, view = build.batch([120, 60], {}), View(train=False, grad=False)
    for reader in readers(config(PAIRED), method).values():
        together = search(system, reader, system.encode(both, view, 0), options)
        for row, frames in enumerate([120, 60]):
            alone = build.batch([frames], {})
            alone.inputs["feats"] = both.inputs["feats"][row : row + 1, :frames]
            (one,) = search(system, reader, system.encode(alone, view, 0), options)
            assert one.tokens == together[row].tokens
            assert one.score == pytest.approx(together[row].score, abs=1e-9)


def has_text(name):
    return name == "text"


def test_routes_follow_the_known_language():
    found = routes(config(), readers(config(), "greedy"), ["y"], has_text)
    assert list(found) == ["y"] and list(found["y"]) == ["ctc_y"]
    route = found["y"]["ctc_y"]
    assert route.language == "oracle" and list(route.readers) == ["y"]
    assert route.task == {"task": "asr", "lang": "y", "source": "y", "text": "text"}
    assert routes(config(), readers(config(), "greedy"), ["x", "y"], has_text) == {}


def test_routes_follow_the_predicted_language():
    system = build.system(objectives=OBJECTIVES, streams=STREAMS, penalty=None)
    langid = language_id(config(), system)
    route = routes(config(), readers(config(), "attention"), ["y"], has_text, langid)["y"]["ctc_y"]
    assert {lang: reader.attention or reader.ctc for lang, reader in route.readers.items()} == {"y": "ctc_y", "x": "att_x"}
    assert route.language == "predicted"


def test_a_head_for_all_languages_needs_none():
    objectives = {"all": {"type": "ctc", "stream": "raw", "tokens": "a"}, "lid": OBJECTIVES["lid"]}
    langid = language_id(config(objectives), build.system(objectives=objectives, streams=STREAMS, penalty=None))
    for spotter, langs in ((None, {"y"}), (langid, {"x", "y", "z"})):
        route = routes(config(objectives), readers(config(objectives), "greedy"), ["y"], has_text, spotter)["raw"]["all"]
        assert route.language == "predicted" and set(route.readers) == langs


def test_predicted_languages_need_a_langid_objective():
    objectives = {"ctc_x": OBJECTIVES["ctc_x"]}
    torch.manual_seed(0)
    with pytest.raises(UserError, match="langid"):
        language_id(config(objectives), build.system(objectives=objectives, streams=STREAMS, penalty=None))
