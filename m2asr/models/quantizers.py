"""Quantizers: they turn states into discrete codes and vectors, the targets of self-supervised objectives."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2asr.errors import UserError
from m2asr.limits import Factor, Positive, PositiveShare, Seed, Width
from m2asr.models.layers import full_precision

Quantized = tuple[Tensor, Tensor, Tensor, Tensor]
SOFTNESS = 0.1  # divisor of cosine similarities in the probabilities of a nearest-entry quantizer


class Quantizer(nn.Module):
    """The base class of quantizers with G codebooks of V entries each, from which every state gets one entry per codebook.

    `forward(states, seed)` maps states (N, D) to a tuple:

    * vectors (N, W), through which a gradient goes back into the states, if the quantizer has one;
    * codes (N, G), int64;
    * the mean over the states of the probability of every code (G, V);
    * the quantizer's loss of every state (N,), which the objective that trains it adds to its loss.

    `seed` seeds the noise of training, so objectives that give the same states and seed get the same codes. All is computed in float32 or
    better.

    Attributes:
        groups: number G of codebooks.
        entries: number V of entries of a codebook.
        width: channels W of the vectors.
        diversity: default weight of a loss for equal use of the codes; 0 if the probabilities have no gradient, so that it cannot be had.
    """

    system_arguments = ("dim",)
    diversity = 0.0

    def __init__(self, groups: int, entries: int, width: int) -> None:
        super().__init__()
        for name, value, least in (("groups", groups, 1), ("entries", entries, 2), ("width", width, 1)):
            if value < least:
                raise UserError(f"quantizer.{name}: {value} is too small; give at least {least}")
        if width % groups:
            raise UserError(f"quantizer.width: {width} is not divisible by `groups`, {groups}; each codebook gives width / groups channels")
        self.groups, self.entries, self.width = groups, entries, width

    def forward(self, states: Tensor, seed: int) -> Quantized:
        with torch.autocast(states.device.type, enabled=False):
            return self.quantize(full_precision(states), seed)

    def quantize(self, states: Tensor, seed: int) -> Quantized:
        """The result of `forward` from states (N, D) in float32 or better."""
        raise NotImplementedError

    def _one_hot(self, codes: Tensor, dtype: torch.dtype) -> Tensor:
        """Codes (N, G) -> (N, G, V), 1 at the code and 0 elsewhere."""
        return torch.zeros(*codes.shape, self.entries, dtype=dtype, device=codes.device).scatter_(-1, codes.unsqueeze(-1), 1.0)


class GumbelQuantizer(Quantizer):
    """Entries chosen by the Gumbel softmax (Baevski et al. 2020, wav2vec 2.0, sections 2 and 3.2, equation 1).

    A linear layer on the normalized state gives logits (G, V). In training a code is the argmax of logits plus Gumbel noise, and the
    gradient is that of softmax((logits + noise) / temperature), straight through; in evaluation it is the argmax of the logits. The
    entries of all codebooks are concatenated and go through a linear layer. The temperature is `start` at first, falls by the factor
    `decay` in every step in which the quantizer is trained, and stays at `end`; the number of these steps is saved with the weights. The
    mean probabilities hold neither noise nor temperature.
    """

    diversity = 0.1
    steps: Tensor

    def __init__(
        self,
        dim: int,
        groups: Width = 2,
        entries: Width = 320,
        width: Width = 256,
        start: Positive = 2.0,
        end: Positive = 0.5,
        decay: PositiveShare = 0.999995,
    ) -> None:
        super().__init__(groups, entries, width)
        if not 0 < end <= start < float("inf"):
            raise UserError(f"quantizer.end: {end:g} is not above 0 and at most `start`, {start:g}; the temperature falls to `end`")
        if not 0 < decay <= 1:
            raise UserError(f"quantizer.decay: {decay:g} is not possible; give a number above 0 and at most 1")
        self.start, self.end, self.decay = start, end, decay
        self.norm = nn.LayerNorm(dim)
        self.logits = nn.Linear(dim, groups * entries)
        nn.init.normal_(self.logits.weight)  # as in wav2vec 2.0: codes tell states apart from the beginning
        nn.init.zeros_(self.logits.bias)
        self.codebook = nn.Parameter(torch.empty(groups, entries, width // groups).uniform_())
        self.output = nn.Linear(width, width)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def temperature(self) -> Tensor:
        """The temperature of the present step (), on the device: nothing waits for it."""
        return (self.start * self.decay ** self.steps.double()).clamp(min=self.end)

    def after_step(self) -> None:
        """Lower the temperature after a step that trained the quantizer."""
        self.steps += 1

    def quantize(self, states: Tensor, seed: int) -> Quantized:
        logits = self.logits(self.norm(states)).unflatten(-1, (self.groups, self.entries))  # (N, G, V)
        if self.training:
            generator = torch.Generator(logits.device).manual_seed(seed)
            noise = -torch.empty_like(logits).exponential_(generator=generator).log()  # (N, G, V)
            soft = ((logits + noise) / self.temperature.to(logits.dtype)).softmax(-1)
            codes = soft.detach().argmax(-1)  # (N, G)
            chosen = self._one_hot(codes, soft.dtype) + (soft - soft.detach())  # the value is exactly one-hot
        else:
            codes = logits.argmax(-1)
            chosen = self._one_hot(codes, logits.dtype)
        vectors = self.output(torch.einsum("ngv,gvd->ngd", chosen, self.codebook).flatten(1))  # (N, W)
        return vectors, codes, logits.softmax(-1).mean(0), logits.new_zeros(len(states))


class NearestQuantizer(Quantizer):
    """The nearest entry on the unit sphere, straight through (van den Oord et al. 2017, VQ-VAE, equations 1 to 3).

    A linear layer maps the normalized state to G parts, and these and all entries are divided by their length (Yu et al. 2022,
    ViT-VQGAN). The gradient at an entry goes on to its part as it is. The loss of a state is the squared distance of each entry to its
    part, which moves the entry, and `commitment` times the same, which moves the part; the mean over codebooks. Probabilities are a softmax
    of 10 times the cosine similarities.
    """

    diversity = 5.0  # on 80 steps of speech this kept a perplexity of 12 of 320, and 1 that of 4

    def __init__(self, dim: int, groups: Width = 1, entries: Width = 320, width: Width = 256, commitment: Factor = 0.25) -> None:
        super().__init__(groups, entries, width)
        if not 0 <= commitment < float("inf"):
            raise UserError(f"quantizer.commitment: {commitment:g} is not possible; give a number from 0 up")
        self.commitment = commitment
        self.norm = nn.LayerNorm(dim)
        self.projection = nn.Linear(dim, width)
        self.codebook = nn.Parameter(torch.randn(groups, entries, width // groups))

    def quantize(self, states: Tensor, seed: int) -> Quantized:
        parts = F.normalize(self.projection(self.norm(states)).unflatten(-1, (self.groups, -1)), dim=-1)  # (N, G, W / G)
        entries = F.normalize(self.codebook, dim=-1)  # (G, V, W / G)
        similarity = torch.einsum("ngd,gvd->ngv", parts, entries)  # (N, G, V)
        codes = similarity.detach().argmax(-1)  # (N, G)
        chosen = entries[torch.arange(self.groups, device=codes.device), codes]  # (N, G, W / G)
        vectors = chosen.detach() + (parts - parts.detach())  # the value is exactly the entry
        moved = (chosen - parts.detach()).square() + self.commitment * (chosen.detach() - parts).square()
        return vectors.flatten(1), codes, (similarity / SOFTNESS).softmax(-1).mean(0), moved.sum(-1).mean(-1)


class ProjectionQuantizer(Quantizer):
    """The nearest entry of a frozen random codebook to a frozen random projection of the state (Chiu et al. 2022, BEST-RQ, section 3.1).

    It has no parameter and no gradient. States are normalized without learned weights, without which the projection uses few codes. The
    projection (Xavier) and the codebook (normal, divided by its length) are drawn from `seed` and saved with the weights.
    """

    projection: Tensor
    codebook: Tensor

    def __init__(self, dim: int, groups: Width = 1, entries: Width = 8192, width: Width = 16, seed: Seed = 0) -> None:
        super().__init__(groups, entries, width)
        generator = torch.Generator().manual_seed(seed)
        bound = (6 / (dim + width)) ** 0.5
        self.register_buffer("projection", torch.empty(dim, width).uniform_(-bound, bound, generator=generator))
        self.register_buffer("codebook", F.normalize(torch.randn(groups, entries, width // groups, generator=generator), dim=-1))

    @torch.no_grad()
    def quantize(self, states: Tensor, seed: int) -> Quantized:
        parts = F.layer_norm(states, states.shape[-1:]) @ self.projection.to(states.dtype)
        parts = F.normalize(parts.unflatten(-1, (self.groups, -1)), dim=-1)  # (N, G, W / G)
        codes = torch.einsum("ngd,gvd->ngv", parts, self.codebook.to(states.dtype)).argmax(-1)  # (N, G)
        chosen = self.codebook[torch.arange(self.groups, device=codes.device), codes].to(states.dtype)  # (N, G, W / G)
        return chosen.flatten(1), codes, self._one_hot(codes, states.dtype).mean(0), states.new_zeros(len(states))


def code_counts(codes: Tensor, entries: int, chosen: Tensor | None = None) -> Tensor:
    """How often each of `entries` codes occurs among codes (N, G), or among those that are `chosen` (N,): (G, V), float32."""
    counts = torch.zeros(codes.shape[1], entries, device=codes.device)
    times = torch.ones_like(codes[:, 0], dtype=counts.dtype) if chosen is None else chosen.to(counts.dtype)  # (N,)
    return counts.scatter_add_(1, codes.T, times.expand(codes.shape[1], -1))


def perplexity(shares: Tensor) -> Tensor:
    """exp of the entropy of counts or probabilities (G, V), the mean over codebooks: (); 1 for a single code, V for equal use."""
    shares = shares / shares.sum(-1, keepdim=True)
    logs = shares.clamp(min=torch.finfo(shares.dtype).tiny).log()  # finite, and so is the gradient, where a share is 0
    return (-shares * logs).sum(-1).exp().mean()
