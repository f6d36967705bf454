"""The whole model of a run: normalization, the shared backbone, and the objectives with their heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from m2asr.config import complete, construct, known
from m2asr.data.augment import spec_augment
from m2asr.data.batch import Batch
from m2asr.errors import UserError
from m2asr.models import DECODERS, ENCODERS
from m2asr.models.encoded import Encoded
from m2asr.objectives import OBJECTIVES
from m2asr.objectives.objective import Objective
from m2asr.objectives.view import View, cut_pieces
from m2asr.train_config import SpecAugment, TrainConfig

ENCODER_GIVEN = ("feat_dim",)
DECODER_GIVEN = ("memory_dim", "vocab", "prefixes")
OBJECTIVE_GIVEN = ("dim", "vocab", "decoders", "frame_shift", "frame_length")
_CUT_STREAM = 0x5EED  # separates the random numbers of cutting from those of dropout
_FUTURE_STREAM = 0xF07E  # and the dropout of futures from that of contexts: equal masks would tell which belong together


class System(nn.Module):
    """Backbone, shared decoders and objectives; `encode` turns a batch into states, an objective turns states into a loss."""

    def __init__(
        self,
        encoder: nn.Module,
        decoders: Mapping[str, nn.Module],
        objectives: Mapping[str, Objective],
        cmvn: str,
        augment: SpecAugment | None,
        feat_dim: int,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoders = nn.ModuleDict(decoders)
        self.objectives = nn.ModuleDict(objectives)
        self.cmvn, self.augment = cmvn, augment
        self.register_buffer("mean", torch.zeros(feat_dim))
        self.register_buffer("scale", torch.ones(feat_dim))

    def encode(self, batch: Batch, view: View, seed: int) -> Encoded:
        """Encode one view of a batch; the same seed gives the same cuts, masks and dropout.

        A cut view has a row per window of the utterances that were long enough; `aux["rows"]` (W,) tells the utterance.
        """
        feats, lengths = batch.inputs["feats"], batch.lengths["feats"]  # (B, T, F), (B,)
        rows = None
        if view.cut is not None:
            generator = torch.Generator().manual_seed(seed ^ _CUT_STREAM)
            feats, lengths, rows = cut_pieces(feats, lengths, view.cut, generator)
        feats = self.normalize(feats, lengths)
        train = self.training and view.train
        if train and view.cut is None and not view.causal and self.augment is not None:
            feats = spec_augment(feats, lengths, self.augment, torch.Generator().manual_seed(seed))
        if view.cut is None:  # pieces have few lengths anyway
            feats = self.encoder.pad(feats)
        is_future = view.cut is not None and view.cut.piece == "future"
        torch.manual_seed(seed ^ _FUTURE_STREAM if is_future else seed)
        self.encoder.train(train)
        with torch.set_grad_enabled(torch.is_grad_enabled() and view.grad):
            encoded = self.encoder(feats, lengths, view.causal)
        if rows is not None:
            encoded.aux["rows"] = rows
        return encoded

    def normalize(self, feats: Tensor, lengths: Tensor) -> Tensor:
        """Mean and variance normalization, (B, T, F) -> (B, T, F) with zeros in the padding."""
        valid = (torch.arange(feats.shape[1], device=feats.device) < lengths[:, None]).unsqueeze(-1)  # (B, T, 1)
        if self.cmvn == "global":
            feats = (feats - self.mean) * self.scale
        elif self.cmvn == "utterance":
            count = lengths.clamp(min=1)[:, None, None]
            mean = (feats * valid).sum(1, keepdim=True) / count
            variance = ((feats - mean).square() * valid).sum(1, keepdim=True) / count
            feats = (feats - mean) * variance.clamp(min=1e-8).rsqrt()
        return feats.masked_fill(~valid, 0.0)

    def groups(self) -> dict[str, list[tuple[str, nn.Parameter]]]:
        """Named parameters per learning-rate group: backbone, supervised heads and shared decoders, self-supervised heads."""
        found: dict[str, list[tuple[str, nn.Parameter]]] = {
            "backbone": list(self.encoder.named_parameters("encoder")),
            "heads": list(self.decoders.named_parameters("decoders")),
            "ssl": [],
        }
        for name, objective in self.objectives.items():
            found["ssl" if objective.self_supervised else "heads"] += objective.named_parameters(f"objectives.{name}")
        return {group: parameters for group, parameters in found.items() if parameters}

    def parts(self) -> list[tuple[str, list[nn.Parameter]]]:
        """The parameters that belong together by name, such as for clipping: the encoder, each shared decoder, each objective's own."""
        shared = [(f"decoders.{name}", decoder) for name, decoder in self.decoders.items()]
        modules = [("encoder", self.encoder), *shared, *self.objectives.items()]
        return [(name, list(module.parameters())) for name, module in modules]


def resolve(config: TrainConfig) -> TrainConfig:
    """The config with the defaults of its encoder, decoders and objectives filled in. Raises UserError for options they do not have."""
    encoder = complete(ENCODERS, "model.encoder", config.model.encoder.own(), ENCODER_GIVEN)
    decoders, objectives = {}, {}
    for name, decoder in config.model.decoders.items():
        decoders[name] = complete(DECODERS, f"model.decoders.{name}", decoder.own(), DECODER_GIVEN)
        _readers(config, name)
    for name, objective in config.objectives.items():
        common = {"stream": objective.stream, "level": objective.level}
        own = complete(OBJECTIVES, f"objectives.{name}", objective.own(), OBJECTIVE_GIVEN)
        if isinstance(own.get("decoder"), dict):
            own["decoder"] = complete(DECODERS, f"objectives.{name}.decoder", own["decoder"], DECODER_GIVEN)
        objectives[name] = {"type": own.pop("type"), **common, **own}
    data = config.model_dump()
    data["model"] |= {"encoder": encoder, "decoders": decoders}
    data["objectives"] = objectives
    return TrainConfig.model_validate(data)


def build_system(
    config: TrainConfig, vocab: Mapping[str, int], feat_dim: int, frame_shift: float = 10.0, frame_length: float = 25.0
) -> System:
    """Build the system of a config, given the vocabulary sizes of its tokenizers and the feature geometry (milliseconds)."""
    encoder = construct(ENCODERS, "model.encoder", config.model.encoder.own(), feat_dim=feat_dim)
    decoders, objectives = {}, {}
    for name, decoder in config.model.decoders.items():
        readers = _readers(config, name)
        prefixes = sorted({reader["prefix"] for reader in readers if reader.get("prefix")})
        own = {"memory_dim": encoder.dim, "vocab": vocab[readers[0]["tokens"]], "prefixes": prefixes}
        decoders[name] = construct(DECODERS, f"model.decoders.{name}", decoder.own(), **own)
    for name, objective in config.objectives.items():
        size = vocab.get(objective.options().get("tokens", ""), 0)
        given: dict[str, Any] = {"dim": encoder.dim, "vocab": size, "decoders": decoders}
        given |= {"frame_shift": frame_shift, "frame_length": frame_length}
        objectives[name] = construct(OBJECTIVES, f"objectives.{name}", objective.own(), **given)
        known(objectives[name].tap, encoder.taps, f"objectives.{name}.tap")
    return System(encoder, decoders, objectives, config.model.cmvn, config.model.specaugment, feat_dim)


def _readers(config: TrainConfig, decoder: str) -> list[dict[str, Any]]:
    """The options of the objectives that share a decoder. Raises UserError where there are none or their tokens differ."""
    found = [objective.options() for objective in config.objectives.values() if objective.options().get("decoder") == decoder]
    if not found:
        raise UserError(f"model.decoders.{decoder}: no objective has `decoder: {decoder}`; name it in one, or leave it out")
    tokens = sorted({str(options.get("tokens")) for options in found})
    if len(tokens) > 1:
        raise UserError(f"model.decoders.{decoder}: its objectives have the tokens {', '.join(tokens)}; a decoder writes one vocabulary")
    return found
