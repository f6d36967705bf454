"""Every number of every config has a type and limits, and is finite."""

from __future__ import annotations

import importlib
import math
import pkgutil
import sys
import typing
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import m2asr
from m2asr.config import DecodeConfig, FbankConfig, Strict, _schema_of, load_config
from m2asr.errors import UserError
from m2asr.models import MODULES
from m2asr.moo import WEIGHTINGS
from m2asr.moo.build import build_weighting
from m2asr.objectives import OBJECTIVES
from m2asr.objectives.build import SYSTEM_ARGUMENTS, build_system, resolve
from m2asr.train.memory import check_model_fits
from m2asr.train_config import TrainConfig, Weighting
from tests.conftest import ROOT

TRAIN = ROOT / "egs/mini/conf/train_m2asr.yaml"
SUPPLIED = ("objectives",)


def schemas() -> Iterator[type[Strict]]:
    """All sections of configs, and the options of all classes that configs construct."""
    for module in pkgutil.walk_packages(m2asr.__path__, "m2asr."):
        if not module.name.startswith("m2asr.bin"):
            importlib.import_module(module.name)
    waiting = [Strict]
    while waiting:
        subclasses = waiting.pop().__subclasses__()
        # Those that other tests of this process have made of a class are not written anywhere, and may hold arguments that no config gives.
        yield from (schema for schema in subclasses if getattr(sys.modules[schema.__module__], schema.__name__, None) is schema)
        waiting += subclasses
    for family in (MODULES, OBJECTIVES, WEIGHTINGS):
        for cls in family.values():
            yield _schema_of(cls, getattr(cls, "system_arguments", SYSTEM_ARGUMENTS) + SUPPLIED)


def unlimited(annotation: typing.Any, limits: tuple = ()) -> bool:
    """Whether a type has a number without a lower or an upper limit."""
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *metadata = typing.get_args(annotation)
        return unlimited(inner, (*limits, *(limit for item in metadata for limit in getattr(item, "metadata", [item]))))
    if annotation in (int, float):
        names = {name for limit in limits for name in ("ge", "gt", "le", "lt") if getattr(limit, name, None) is not None}
        return not (names & {"ge", "gt"} and names & {"le", "lt"})
    return any(unlimited(argument) for argument in typing.get_args(annotation))


def test_every_number_has_limits() -> None:
    missing = []
    for schema in schemas():
        for name, field in schema.model_fields.items():
            if unlimited(typing.Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation):
                missing.append(f"{schema.__module__}.{schema.__name__}.{name}")
    assert not missing


@pytest.mark.parametrize(
    "change",
    [
        *("model.encoder.dropout=257", "model.encoder.blocks=-1", "model.encoder.blocks=1000000000000", "model.encoder.heads=0"),
        *("model.encoder.dim=0", "model.encoder.kernel=0", "model.specaugment.time_share=.nan", "model.specaugment.freq_width=-3"),
        *("optim.lr.backbone=.inf", "optim.lr.heads=.nan", "optim.weight_decay=.inf", "optim.betas=[0.9, 1.0]", "optim.warmup_steps=-5"),
        *("train.seed=1" + 30 * "0", "train.hours=.inf", "train.hours=1e300", "train.max_bad=-1", "train.workers=100000"),
        *("train.accumulation=1000000000", "batching.buckets=1000000000", "objectives.cpc.windows=1000000000"),
        *("batching.seconds=.nan", "penalty.end=.inf", "batching.shares={it: -1.0}"),
        *("objectives.cpc.temperature=0.0", "objectives.cpc.windows=0", "objectives.cpc.future=.inf", "streams.it.speeds=[1e-9]"),
    ],
)
def test_numbers_outside_their_limits_are_refused_in_one_line(change: str) -> None:
    with pytest.raises(UserError) as error:
        resolve(load_config(TrainConfig, TRAIN, [change]))
    message = str(error.value)
    assert change.partition("=")[0].rpartition(".")[2].split("{")[0] in message and "\n" not in message and len(message) < 400, message


@pytest.mark.parametrize("options", [{"step": math.nan}, {"rho": -math.inf}, {"step": 0.0}, {"rho": 1e300}])
def test_weightings_have_limits(options: dict[str, float]) -> None:
    with pytest.raises(UserError, match=f"weighting: {next(iter(options))}: "):
        build_weighting(Weighting(type="modo", **options), ["a", "b"])


def test_a_model_that_does_not_fit_is_refused_before_it_takes_memory() -> None:
    config = resolve(load_config(TrainConfig, TRAIN, ["model.encoder.dim=100000", "model.encoder.heads=8", "model.encoder.blocks=1000"]))
    with pytest.raises(UserError, match=r"model: its parameters take [0-9,.]+ GB, but .* lower dim, blocks"):
        check_model_fits(partial(build_system, config, dict.fromkeys(config.tokens, 40), 80))


def test_the_mean_of_a_network_counts_as_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    ema = ["objectives.msp.teacher=ema"]
    sizes = []
    for changes in ([], ema):
        config = resolve(load_config(TrainConfig, ROOT / "egs/mini/conf/train_mmspeech.yaml", changes))
        build = partial(build_system, config, dict.fromkeys(config.tokens, 40), 80)
        sizes.append(sum(value.numel() * value.element_size() for value in build().state_dict().values()))
        monkeypatch.setattr("m2asr.train.memory.free_bytes", lambda device: 1.3 * sizes[0])
        if not changes:
            check_model_fits(build)
    assert sizes[1] > 1.5 * sizes[0]
    with pytest.raises(UserError, match="model: its parameters take"):
        check_model_fits(build)


@pytest.mark.parametrize(
    "change", ["frame_shift=.nan", "frame_shift=0", "num_mel_bins=-1", "sample_rate=0", "frame_length=1e9", "dither=.inf"]
)
def test_features_have_limits(change: str) -> None:
    with pytest.raises(UserError, match=change.partition("=")[0]):
        load_config(FbankConfig, ROOT / "egs/mini/conf/fbank.yaml", [change])


@pytest.mark.parametrize(
    "change", ["beam=1000000000000", "max_ratio=.inf", "batch_seconds=.nan", "bonus=[.nan]", "lm.weight=.inf", "ctc_weight=.nan"]
)
def test_searches_have_limits(change: str, tmp_path: Path) -> None:
    (tmp_path / "decode.yaml").write_text("name: x\nmethod: joint\nlm: {}\n")
    with pytest.raises(UserError, match=change.partition("=")[0].partition(".")[0]):
        load_config(DecodeConfig, tmp_path / "decode.yaml", [change])
    assert math.isfinite(load_config(DecodeConfig, tmp_path / "decode.yaml").max_ratio)
