"""Losses on the routers of experts: decided choices, and an even use of the experts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2asr.data.batch import Batch, Share
from m2asr.errors import UserError
from m2asr.limits import Factor
from m2asr.models.encoded import Encoded
from m2asr.models.experts import choices, expert_counts, limit
from m2asr.models.layers import valid_positions
from m2asr.objectives.objective import Loss, Objective
from m2asr.objectives.view import View, ViewOptions, view_of

DEAD = 0.01  # an expert is dead if it gets less than this share of what each would get by equal shares


class Balance(Objective):
    """The sum over routers of up to four losses, each times its weight, from the probabilities p_t of E experts at frames t.

    * `sparsity`: the mean over t of ||p_t||_1 / ||p_t||_2, from 1 (one expert has all) to sqrt(E) (You et al. 2021, SpeechMoE, equation 7);
    * `importance`: E sum_j m_j^2, where m is the mean over t of p_t, from 1 (even) to E (You et al. 2021, equation 8);
    * `switch`: E sum_j f_j m_j, where f_j is the share of choices that fall on expert j (Fedus et al. 2022, Switch, equation 4);
    * `z`: the mean over t of logsumexp(logits)^2 (Zoph et al. 2022, ST-MoE, equation 5).

    Padding takes no part. Means are over a micro-batch, which processes do not divide where m is used. The experts are those of the encoder
    in the objective's view; give it `role: regular`, and it stays outside lambda.

    Metrics: `entropy_routerN` in nats, and `load_routerN`, the shares of choices of all experts of block N; with a capacity `dropped`, the
    share of choices that it takes away.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        sparsity: Factor = 0.15,
        importance: Factor = 0.15,
        switch: Factor = 0.0,
        z: Factor = 0.0,
        view: ViewOptions | None = None,
    ) -> None:
        weights = {"sparsity": sparsity, "importance": importance, "switch": switch, "z": z}
        for name, weight in weights.items():
            if not 0 <= weight < float("inf"):
                raise UserError(f"{name}: {weight:g} is not possible; give a number from 0 up")
        if not any(weights.values()):
            raise UserError("sparsity, importance, switch and z are all 0; give one of them a weight, or remove the objective")
        encoder, read = modules["encoder"], view_of(view)
        if encoder.experts is None:
            raise UserError("the encoder has no experts; add `model.encoder.experts`, or remove the objective")
        if encoder.experts.router == "language":
            raise UserError(
                "with `router: language` no router is trained; remove this objective, or take model.encoder.experts.router away"
            )
        taps = [tap for tap in encoder.router_taps if int(tap.removeprefix("router")) > read.start]
        if not taps:
            raise UserError(f"view.start: no block behind the first {read.start} has experts; begin earlier, or take `view` away")
        super().__init__([(read, tap) for tap in taps])
        self.weights, self.options, self.taps = weights, encoder.experts, taps
        self.compares = importance > 0 or switch > 0
        self.widths = {f"load_{tap}": self.options.count for tap in taps}
        self.metrics = (*(f"entropy_{tap}" for tap in taps), *self.widths, *(("dropped",) if self.options.capacity else ()))

    def share(self, batch: Batch, rng: np.random.Generator) -> Share:
        return Share(float(batch.drawn[self.views[0]].states.sum()))

    def forward(self, encoded: Mapping[View, Encoded], share: Share) -> Loss:
        view, frames = encoded[self.views[0]], share.weight
        valid = valid_positions(view.lengths, view.states[self.taps[0]].shape[1])  # (R, T')
        losses, metrics = [], {}
        for tap in self.taps:
            logits = view.states[tap]  # (R, T', E)
            experts = choices(logits, valid, self.options.top)  # (R, T', K)
            counts = expert_counts(experts, self.options.count)  # (E,)
            losses.append(frames * router_loss(logits, valid, counts, self.options.top, self.weights))
            logs = F.log_softmax(logits.detach(), dim=-1)
            metrics[f"entropy_{tap}"] = (-((logs.exp() * logs).sum(-1) * valid).sum(), frames)
            metrics[f"load_{tap}"] = (counts, frames * self.options.top)
            if self.options.capacity is not None and self.training:
                kept = expert_counts(limit(experts, self.options.count, self.options.capacity), self.options.count)
                total, weight = metrics.get("dropped", (0.0, 0.0))
                metrics["dropped"] = (total + (counts - kept).sum(), weight + frames * self.options.top)
        return Loss(torch.stack(losses).sum(), metrics)

    def warning(self, metrics: Mapping[str, float | list[float]]) -> str | None:
        dead = {tap: np.flatnonzero(np.array(metrics.get(f"load_{tap}", [])) < DEAD / self.options.count) for tap in self.taps}
        listed = [f"{tap} {' '.join(map(str, experts))}" for tap, experts in dead.items() if len(experts)]
        if not listed:
            return None
        total = sum(map(len, dead.values()))
        shown = "; ".join(listed[:4]) + ("; ..." if len(listed) > 4 else "")
        return f"{total} experts get nearly no states ({shown}); raise `importance` or `switch`, or lower `optim.lr.backbone`"


def router_loss(logits: Tensor, valid: Tensor, counts: Tensor, top: int, weights: Mapping[str, float]) -> Tensor:
    """The weighted losses of one router, means over its states, from its logits (R, T, E) and the choices of every expert (E,).

    `valid` (R, T) is False in the padding; each state chooses `top` experts.
    """
    states, experts = valid.sum(), logits.shape[-1]
    probabilities = logits.softmax(-1) * valid.unsqueeze(-1)  # (R, T, E), 0 in the padding
    mean = probabilities.sum((0, 1)) / states  # (E,)
    total = logits.new_zeros(())
    if weights.get("sparsity"):
        lengths = torch.linalg.vector_norm(probabilities.masked_fill(~valid.unsqueeze(-1), 1.0), dim=-1)  # (R, T)
        total = total + weights["sparsity"] * (valid / lengths).sum() / states
    if weights.get("importance"):
        total = total + weights["importance"] * experts * mean.square().sum()
    if weights.get("switch"):
        total = total + weights["switch"] * experts * (counts.to(mean.dtype) / (states * top) * mean).sum()
    if weights.get("z"):
        total = total + weights["z"] * (logits.logsumexp(-1).square() * valid).sum() / states
    return total
