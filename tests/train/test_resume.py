"""A checkpoint that reads well but does not fit is named in one line, and the one before is taken."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from m2asr.config import check_config
from m2asr.objectives.build import resolve
from m2asr.train import checkpoint
from m2asr.train.checkpoint import Damaged
from m2asr.train.materials import gather
from m2asr.train.trainer import Trainer
from m2asr.train_config import TrainConfig
from tests.train import recipe


class Stopped(Exception):
    """In the middle of the run."""


State = dict[str, Any]
MATRIX, VECTOR = "encoder.after_norm.weight", "objectives.asr_en.output.weight"


@pytest.fixture(scope="module")
def stopped(tokens: Path, mini_data: Path, mini_dump: Path, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """A run with two checkpoints."""
    exp = recipe.folder(tmp_path_factory.mktemp("stopped") / "exp", tokens)
    data = recipe.SMALL | {"batching": {"seconds": 125, "buckets": 2}, "optim": {"type": "muon"}}
    data["train"] = {**recipe.CONFIG["train"], "epochs": 1, "workers": 0, "save_every": 1}
    config = resolve(check_config(TrainConfig, data, "test"))
    trainer = Trainer(config, gather(config, mini_data, mini_dump, exp), exp)
    original = Trainer.save

    def save(self: Trainer) -> None:
        original(self)
        if self.number == 2:
            raise Stopped

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Trainer, "save", save)
        trainer.run()
    assert len(list((exp / "checkpoints").glob("[lp]*.pt"))) == 2
    return trainer


def optimizer_of(state: State) -> State:
    return state["span"]["phases"]["train"]["optimizer"]


def moments_of(state: State, kind: str) -> dict[str, torch.Tensor]:
    """The moments of the first parameter that has this kind of them."""
    return next(values for values in optimizer_of(state).values() if kind in values)


def name_of_moments(state: State) -> str:
    return next(iter(optimizer_of(state)))


def level_of(state: State) -> State:
    return state["span"]["phases"]["train"]["levels"][0]


BROKEN: dict[str, Callable[[State], object]] = {
    "a scalar moment": lambda state: moments_of(state, "exp_avg").update(exp_avg=torch.tensor(0.0)),
    "another shape": lambda state: moments_of(state, "momentum").update(momentum=torch.zeros(3, 5)),
    "another type": lambda state: moments_of(state, "exp_avg").update(exp_avg_sq=torch.zeros(2, dtype=torch.int8)),
    "no step": lambda state: moments_of(state, "exp_avg").pop("step"),
    "not finite": lambda state: moments_of(state, "momentum")["momentum"].fill_(math.nan),
    "a list as moments": lambda state: moments_of(state, "momentum").update(momentum=[1.0]),
    "moments of nothing": lambda state: optimizer_of(state).update(nobody={"step": torch.tensor(1.0)}),
    "a number as all moments of a weight": lambda state: optimizer_of(state).update({name_of_moments(state): 3}),
    "nothing as all moments of a weight": lambda state: optimizer_of(state).update({name_of_moments(state): None}),
    "a list as optimizer": lambda state: state["span"]["phases"]["train"].update(optimizer=[1]),
    "a sparse moment": lambda state: moments_of(state, "momentum").update(momentum=moments_of(state, "momentum")["momentum"].to_sparse()),
    "negative squares": lambda state: moments_of(state, "exp_avg")["exp_avg_sq"].fill_(-1.0),
    "a negative step": lambda state: moments_of(state, "exp_avg")["step"].fill_(-1.0),
    "no optimizer": lambda state: state["span"]["phases"]["train"].pop("optimizer"),
    "no span": lambda state: state.pop("span"),
    "a span of another name": lambda state: state["span"].update(phases={}),
    "a word as a number": lambda state: state.update(number="many"),
    "hours that are not finite": lambda state: state.update(audio_seconds=math.inf),
    "a span that does not exist": lambda state: state.update(span_index=7),
    "no model": lambda state: state.pop("model"),
    "a list as model": lambda state: state.update(model=[1]),
    "a word as weight": lambda state: state["model"].update(mean="x"),
    "a sparse weight": lambda state: state["model"].update(mean=state["model"]["mean"].to_sparse()),
    "weights of another type": lambda state: state["model"].update(mean=state["model"]["mean"].to(torch.float64)),
    "weights that are not finite": lambda state: state["model"]["scale"].fill_(math.nan),
    "no config": lambda state: state.pop("config"),
    "a word as config": lambda state: state.update(config="x"),
    "a config of nothing": lambda state: state.update(config={}),
    "levels as a mapping": lambda state: state["span"]["phases"]["train"].update(levels={}),
    "a level less": lambda state: state["span"]["phases"]["train"]["levels"].pop(),
    "no weights of objectives": lambda state: level_of(state)["weighting"].pop("lambda"),
    "words as weights": lambda state: level_of(state)["weighting"].update({"lambda": {"asr_en": "a", "st_en_it": "b"}}),
    "weights of nothing": lambda state: level_of(state)["reuse"].update(weights=3),
    "positions that are words": lambda state: state["span"]["phases"]["train"]["loader"]["streams"].update(en=["a", "b"]),
    "a position behind the epoch": lambda state: state["span"]["phases"]["train"]["loader"]["streams"].update(en=[0, 10**6]),
    "a position in no epoch": lambda state: state["span"]["phases"]["train"]["loader"]["streams"].update(en=[10**30, 0]),
    "a negative position": lambda state: state["span"]["phases"]["train"]["loader"]["streams"].update(en=[0, -1]),
    "a number as messages": lambda state: state["span"]["phases"]["train"]["loader"].update(bad=3),
    "a number as best": lambda state: state.update(best=3),
    "best of words": lambda state: state.update(best={"first": 0.5}),
    "scores of words": lambda state: state.update(best={"1": "good"}),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_part_that_does_not_fit_is_named_and_the_checkpoint_before_is_taken(
    how: str, stopped: Trainer, tokens: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = checkpoint.load(stopped.exp / "checkpoints/previous.pt")
    broken = checkpoint.load(stopped.exp / "checkpoints/last.pt")
    BROKEN[how](broken)
    folder = tmp_path / "exp/checkpoints"
    checkpoint.write(folder / "previous.pt", good)
    checkpoint.write(folder / "last.pt", broken)
    stopped.span.stop()
    stopped.exp, before = folder.parent, stopped.exp
    try:
        assert stopped.resume() and stopped.number == good["number"] < broken_number(broken)
        warning = capsys.readouterr().err
        assert warning.startswith(f"warning: {folder / 'last.pt'}: ") and warning.count("\n") == 1 and len(warning) < 600, warning
        if how == "a scalar moment":
            checkpoint.write(folder / "previous.pt", broken)
            with pytest.raises(Damaged, match="previous.pt"):
                stopped.resume()
    finally:
        stopped.exp = before


def broken_number(state: State) -> float:
    return state["number"] if isinstance(state["number"], int) else math.inf
