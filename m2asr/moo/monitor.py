"""What the inner products of gradients say about conflict."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Conflicts:
    """How the gradients of one step stood to each other.

    names: objectives (M), and as the last those whose gradients were added up, joined by `+`; gramians: inner products (M, M) of their
    gradients per group of layers, of one batch, without the factors of their levels (a sum over levels of several factors: with them);
    merged: ||sum_m lambda_m g_m|| of the first level, the distance to Pareto stationarity (with levels below that were added to it,
    where its gradients were added up); pull: the length of what the levels below add to it, ||gamma g_lower||; deviation: the largest
    |lambda - exact lambda|, where weights came from gradients at encoder states.
    """

    names: list[str]
    gramians: dict[str, Tensor]
    merged: float = 0.0
    pull: float = 0.0
    deviation: float | None = None

    @property
    def gramian(self) -> Tensor:
        """Inner products over all layers."""
        return torch.stack(list(self.gramians.values())).sum(0)

    def line(self) -> dict[str, object]:
        """Plain values for a log."""
        whole = self.gramian
        return {
            "names": self.names,
            "matrix": cosines(whole).tolist(),
            "layers": {layer: cosines(gramian).tolist() for layer, gramian in self.gramians.items()},
            "norm": norms(whole).tolist(),
            "norms": {layer: norms(gramian).tolist() for layer, gramian in self.gramians.items()},
            "rate": {layer: conflict_rate(gramian) for layer, gramian in {**self.gramians, "all": whole}.items()},
            "merged": self.merged,
            "pull": self.pull,
            **({} if self.deviation is None else {"deviation": self.deviation}),
        }


def cosines(gramian: Tensor) -> Tensor:
    """Cosines (M, M) of the angles between gradients, from G G^T (M, M) of one batch; 0 beside a gradient that is 0."""
    gramian = gramian.detach().double()
    lengths = norms(gramian).outer(norms(gramian))
    return torch.where(lengths > 0, gramian / lengths, 0.0).clamp(-1, 1)


def norms(gramian: Tensor) -> Tensor:
    """Lengths (M,) of gradients from G G^T (M, M) of one batch."""
    return gramian.diagonal().clamp(min=0).sqrt()


def conflict_rate(gramian: Tensor) -> float:
    """The share of pairs of gradients whose inner product is negative; 0 for a single gradient."""
    row, column = torch.triu_indices(len(gramian), len(gramian), offset=1, device=gramian.device)
    pairs = gramian[row, column]
    return float((pairs < 0).double().mean()) if len(pairs) else 0.0


def merged_norm(gramian: Tensor, weights: Tensor) -> float:
    """||sum_m w_m g_m|| from G G^T (M, M) and weights (M,): 0 at a Pareto-stationary point under MGDA's weights."""
    weights = weights.to(gramian.device, torch.float64)
    return float((weights @ gramian.detach().double() @ weights).clamp(min=0).sqrt())
