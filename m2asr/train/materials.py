"""Opens what a run reads from the folders of the recipe: tokenizers, the sources of the streams, and the normalization of features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from m2asr.config import FbankConfig, check_config, load_config
from m2asr.data.ark import read_matrix
from m2asr.data.feats import AudioFeats, StoredFeats, dump_of
from m2asr.data.index import UtteranceIndex
from m2asr.data.sources import Source
from m2asr.errors import UserError
from m2asr.features.cmvn import mean_and_scale
from m2asr.files import recover
from m2asr.models.experts import Experts
from m2asr.text.tokenizer import Tokenizer
from m2asr.train_config import TrainConfig

TELL_LANGUAGES = ("langid", "contrastive", "masked_lm")  # objectives with classes or metrics by language
UNDETERMINED = "und"  # ISO 639's code for a language that is not known


@dataclass
class Materials:
    """Everything a system and a trainer read: `train` and `dev` map stream names to sources."""

    tokenizers: dict[str, Tokenizer]
    train: dict[str, Source]
    dev: dict[str, Source]
    geometry: FbankConfig  # of the stored features, which computed ones follow
    mean: torch.Tensor  # (F,)
    scale: torch.Tensor  # (F,) 1 / standard deviation

    @property
    def vocab(self) -> dict[str, int]:
        return {name: tokenizer.size for name, tokenizer in self.tokenizers.items()}


def gather(config: TrainConfig, data: Path, dump: Path, exp: Path, allow_pipes: bool = False) -> Materials:
    """Open what `config` names. Raises UserError for the first thing that is missing, with the stage that makes it.

    With `allow_pipes` the commands in wav.scp run where features are computed while training.
    """
    tokenizers = load_tokenizers(config, exp / "tokens")
    audio = config.audio_sets()
    stored = {name: open_set(name, data, dump) for name in audio}
    geometry = fbank_config(dump, stored) if stored else FbankConfig()
    train, dev = {}, {}
    for name, stream in config.streams.items():
        reads = config.reads(name)
        options: dict[str, Any] = {
            "targets": targets_of(config, name, tokenizers),
            "frame_shift": geometry.frame_shift / 1000,
            "tokens": [(kind, text, tokenizers[kind]) for kind, text in reads if kind != "feats"],
            "token_seconds": 1 / config.batching.tokens_per_second,
        }
        if ("feats", "") not in reads:
            train[name] = Source(name, [open_texts(folder, data) for folder in stream.sets], feats=None, **options)
            if stream.dev:
                dev[name] = Source(name, [open_texts(folder, data) for folder in stream.dev], feats=None, **options)
            continue
        if config.features.source == "audio":
            feats = AudioFeats(geometry, stream.speeds)
            indexes = {folder: UtteranceIndex(data / folder, allow_pipes=allow_pipes) for folder in stream.sets}
        else:
            speeds = set(stream.speeds) - {1.0}
            perturbed = {speed: {folder: open_set(folder, data, dump, speed) for folder in stream.sets} for speed in speeds}
            feats, indexes = StoredFeats(stream.speeds, perturbed), stored
        train[name] = Source(name, [indexes[folder] for folder in stream.sets], feats=feats, **options)
        if stream.dev:
            dev[name] = Source(name, [stored[folder] for folder in stream.dev], **options)
    _check_targets(config, train)
    check_router_languages(config, train, dev)
    trained = dict.fromkeys(folder for stream in config.streams.values() for folder in stream.sets)
    mean, scale = normalization(dump, [folder for folder in trained if folder in stored], geometry.num_mel_bins)
    return Materials(tokenizers, train, dev, geometry, mean, scale)


def normalization(dump: Path, sets: Sequence[str], bins: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and 1 / standard deviation (F,) of `bins` features of training sets; 0 and 1 without sets, where texts alone are read.

    Raises UserError for statistics that cannot be those of such features.
    """
    if not sets:
        return torch.zeros(bins), torch.ones(bins)
    stats = np.zeros((2, bins + 1))
    for path in (dump / name / "cmvn.ark" for name in sets):
        of_set = read_matrix(path)
        if of_set.shape != stats.shape:
            stored, needed = (f"{rows} rows for {columns - 1} features" for rows, columns in (of_set.shape, stats.shape))
            raise UserError(f"{path}: statistics in {stored}, not {needed}; remove this folder and run stage fbank")
        if not np.isfinite(of_set).all() or of_set[0, -1] <= 0 or (of_set[1] < 0).any():
            raise UserError(f"{path}: no statistics of features, or not finite; remove this folder and run stage fbank")
        stats += of_set
    mean, scale = mean_and_scale(stats)
    return torch.as_tensor(mean).float(), torch.as_tensor(scale).float()


def fbank_config(dump: Path, sets: Iterable[str]) -> FbankConfig:
    """How the features of these sets were computed. Raises UserError where two sets differ."""
    configs = {name: load_config(FbankConfig, dump / name / "fbank.yaml") for name in sets}
    first = next(iter(configs))
    for name, config in configs.items():
        if config.geometry() != configs[first].geometry():
            raise UserError(f"{dump / name}: its features were computed otherwise than those of {first}; run stage 1 (fbank) with --force")
    return configs[first]


def load_tokenizers(config: TrainConfig, folder: Path) -> dict[str, Tokenizer]:
    """The tokenizers that the config names. Raises UserError if one was not trained."""
    for name in config.tokens:
        if not recover(folder / name).is_dir():
            raise UserError(f"{folder / name}: no tokenizer for tokens.{name}; run stage 2 (tokens) first")
    return {name: Tokenizer.load(folder / name) for name in config.tokens}


def targets_of(config: TrainConfig, stream: str, tokenizers: Mapping[str, Tokenizer]) -> list[tuple[str, str, Tokenizer]]:
    """Tokenizer name, text file and tokenizer of every objective on a stream that has a target."""
    options = [objective.options() for objective in config.objectives.values() if objective.stream == stream]
    pairs = {(option["tokens"], option.get("text", "text")) for option in options if "tokens" in option}
    return [(tokens, text, tokenizers[tokens]) for tokens, text in sorted(pairs)]


def with_languages(config: TrainConfig, train: Mapping[str, Source]) -> TrainConfig:
    """The config with the languages of the objectives that tell them apart, if they name none: those of the stream's sets but `und`."""
    config = config.model_copy(deep=True)
    for objective in config.objectives.values():
        if objective.type in TELL_LANGUAGES and not objective.options().get("languages"):
            objective.languages = [lang for lang in train[objective.stream].index.languages if lang != UNDETERMINED]
    return config


def open_set(name: str, data: Path, dump: Path, speed: float = 1.0) -> UtteranceIndex:
    """The index of one set, with the features of a speed. Raises UserError naming the stage that makes what is missing."""
    if not recover(data / name).is_dir():
        raise UserError(f"{data / name}: no such data directory; run stage 0 (data) first, or correct streams.*.sets")
    folder = recover(dump_of(dump, name, speed))
    if not (folder / "feats.scp").is_file():
        raise UserError(f"{folder}/feats.scp: no features; run stage 1 (fbank) first")
    return UtteranceIndex(data / name, folder)


def open_texts(name: str, data: Path) -> UtteranceIndex:
    """The index of a set of which texts alone are read, whether it has recordings or not. Raises UserError if it was not prepared."""
    if not recover(data / name).is_dir():
        raise UserError(f"{data / name}: no such data directory; run stage 0 (data) first, or correct streams.*.sets")
    return UtteranceIndex(data / name)


def check_router_languages(config: TrainConfig, train: Mapping[str, Source], dev: Mapping[str, Source]) -> None:
    """Raise UserError if no training utterance is in a language that routers tell apart, or a set is in a language without an expert.

    Tells where only some languages are missing, so a training may go on with fewer.
    """
    routed = config.model.router_languages()
    heard = {lang for name, source in train.items() if ("feats", "") in config.reads(name) for lang in source.index.languages}
    missing = [lang for lang in routed if lang not in heard]
    if missing:
        problem = f"model.encoder.experts.languages: no utterance is in {', '.join(missing)}; the streams have {', '.join(sorted(heard))}"
        if missing == routed:
            raise UserError(problem)
        print(f"warning: {problem}")
    if routed:
        experts = check_config(Experts, config.model.encoder.options()["experts"], "model.encoder.experts")
        spoken = {lang for source in (*train.values(), *dev.values()) for lang in source.index.languages}  # texts go through experts too
        if unserved := experts.unserved(spoken):
            advice = "name them in `languages`, or add one to `count` for an expert of all other languages"
            raise UserError(f"model.encoder.experts: none is for {', '.join(unserved)}, which streams read; {advice}")


def _check_targets(config: TrainConfig, train: Mapping[str, Source]) -> None:
    for name, objective in config.objectives.items():
        options, view = objective.options(), objective.options().get("view") or {}
        texts = [options.get("text", "text")] if "tokens" in options else []
        texts += [view.get("text", "text")] if view.get("input", "feats") != "feats" else []
        for text in texts:
            if not any(index.has_text(text) for index in train[objective.stream].index.indexes):
                sets = ", ".join(config.streams[objective.stream].sets)
                raise UserError(
                    f"objectives.{name}: no utterance of stream {objective.stream} ({sets}) has a `{text}`; there is nothing to learn from"
                )
