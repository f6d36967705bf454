"""Which of several heads of one target search reads: a marked one, else the one at the latest tap; and which are kept out."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from m2asr.decode.heads import marking_head, recognizer
from m2asr.decode.leads import by_preference, langid_objective
from m2asr.decode.routes import routes
from m2asr.decode.search import readers
from m2asr.decode.text_models import written_tokenizers
from m2asr.errors import UserError
from m2asr.objectives.build import resolve
from m2asr.train_config import TrainConfig
from tests.objectives import build

CTC = {"type": "ctc", "stream": "x", "tokens": "a", "text": "text"}
HEADS = {"low": {**CTC, "tap": "block2"}, "high": {**CTC, "tap": "output"}, "middle": {**CTC, "tap": "block10"}}
TRANSDUCER = {"type": "transducer", "stream": "x", "tokens": "a", "predictor": "p", "joiner": "j", "text": "text", "tap": "output"}
DECODER = {"type": "attention", "stream": "x", "tokens": "a", "text": "text", "tap": "output"}
STREAMS = {"x": {"sets": ["x"], "lang": "x"}, "raw": {"sets": ["x", "y"]}}


def config(objectives: dict[str, dict[str, Any]]) -> TrainConfig:
    return TrainConfig.model_validate({**build.config().model_dump(), "streams": STREAMS, "objectives": objectives, "penalty": None})


@pytest.mark.parametrize("order", list(itertools.permutations(HEADS)))
@pytest.mark.parametrize("method", ["greedy", "prefix_beam", "joint", "rescoring"])
def test_the_head_at_the_output_is_read_in_whatever_order_they_stand(order: tuple[str, ...], method: str) -> None:
    built = config({**{name: HEADS[name] for name in order}, "att": DECODER})
    (reader,) = readers(built, method).values()  # one for the target
    assert reader.ctc == "high" and reader.attention == (None if method in ("greedy", "prefix_beam") else "att")
    assert by_preference(built, order) == ["high", "middle", "low"]


@pytest.mark.parametrize("method", ["greedy", "joint"])
def test_a_marked_head_leads(method: str) -> None:
    built = config({**HEADS, "low": {**HEADS["low"], "lead": True}, "att": DECODER, "other": {**DECODER, "lead": True}})
    (reader,) = readers(built, method).values()
    assert reader.ctc == "low" and reader.attention == (None if method == "greedy" else "other")


def test_a_head_that_does_not_decode_is_kept_out() -> None:
    built = config({**HEADS, "high": {**HEADS["high"], "decode": False}, "att": {**DECODER, "tokens": "b", "decode": False}})
    assert list(readers(built, "greedy")) == ["middle"] and written_tokenizers(built) == ["a"]
    built = config({"att": DECODER, "ctc": {**CTC, "decode": False}})
    with pytest.raises(UserError, match="objectives.att has no CTC objective beside it"):
        readers(built, "joint")
    assert list(readers(built, "greedy")) == ["att"]
    assert marking_head(built, readers(built, "attention")["att"]) is None
    assert readers(config({"ctc": {**CTC, "decode": False}}), "greedy") == {}


def test_time_marks_come_from_the_lead() -> None:
    shared = {"first": {**CTC, "stream": "raw", "tap": "block1"}, "second": {**CTC, "stream": "raw", "tap": "output"}}
    built = config({**shared, **HEADS, "att": DECODER})
    assert marking_head(built, readers(built, "attention")["att"]) == "high"
    built = config({"second": shared["second"], "first": shared["first"], "att": DECODER})
    assert marking_head(built, readers(built, "attention")["att"]) == "second"


def test_a_transducer_leads_and_is_kept_out_as_other_heads() -> None:
    built = config({"low": {**TRANSDUCER, "tap": "block2"}, "high": TRANSDUCER, "other": {**TRANSDUCER, "tokens": "b", "decode": False}})
    assert list(readers(built, "transducer")) == list(readers(built, "greedy")) == ["high"] and written_tokenizers(built) == ["a"]
    built = config({"low": {**TRANSDUCER, "tap": "block2", "lead": True}, "high": TRANSDUCER, "ctc": CTC})
    (reader,) = readers(built, "transducer").values()
    assert reader.name == "low" and marking_head(built, reader) == "ctc"  # which gives the times of its words
    with pytest.raises(UserError, match="objectives.low leads already"):
        config({"low": {**TRANSDUCER, "lead": True}, "high": {**TRANSDUCER, "lead": True}})


def test_of_heads_with_other_tokens_the_later_answers_for_its_language() -> None:
    """As an intermediate CTC in smaller units, which is another target but reads the same speech."""
    built = config({"low": HEADS["low"], "high": {**HEADS["high"], "tokens": "b"}})
    heads = readers(built, "greedy")
    assert recognizer(built, heads, "x").name == "high"
    route = routes(built, heads, ["und", "x"])["asr_by_language"]
    assert {lang: reader.name for lang, reader in route.readers.items()} == {"x": "high"}


def test_the_language_is_told_by_the_lead() -> None:
    langid = {"type": "langid", "stream": "raw", "languages": ["x", "y"], "tap": "output"}
    early, late = {**langid, "tap": "block1"}, langid
    assert langid_objective(config({"asr": CTC, "early": early, "late": late})) == "late"
    assert langid_objective(config({"asr": CTC, "early": {**early, "lead": True}, "late": late})) == "early"
    assert langid_objective(config({"asr": CTC, "early": early, "late": {**late, "decode": False}})) == "early"
    assert langid_objective(config({"asr": CTC})) is None


def test_routers_that_read_the_true_language_are_told() -> None:
    built = config({"shared": {**CTC, "stream": "raw"}})
    assert routes(built, readers(built, "greedy"), ["x"])["shared"].language == "predicted"
    built.model.encoder.experts = {"count": 2, "languages": ["x", "y"]}
    assert routes(built, readers(built, "greedy"), ["x"])["shared"].language == "oracle"


def test_a_resolved_config_keeps_what_was_marked() -> None:
    changed = {"low": {**HEADS["low"], "lead": True}, "high": {**HEADS["high"], "decode": False}}
    built = resolve(config(changed))
    assert built.objectives["low"].lead and not built.objectives["high"].decode
