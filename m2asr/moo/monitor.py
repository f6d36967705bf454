"""Measures of conflict between objectives, from the inner products of their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Conflicts:
    """The angles and lengths of the gradients of one step.

    names: objectives (M), and as the last those whose gradients were added up, joined by `+`; gramians: inner products (M, M) of their
    gradients per group of layers, of one batch, without the factors of their levels (a sum over levels of several factors: with them);
    cross: `cross_cosines` (M, M) per layer and for `all`, as far as independent batches were compared;
    halved: those whose cosine with itself, and with each other, is that of two halves of a batch;
    merged: ||sum_m lambda_m g_m|| of the first level, the distance to Pareto stationarity (with levels below that were added to it,
    where its gradients were added up); pull: the length of what the levels below add to it, ||gamma g_lower||; deviation: the largest
    |lambda - exact lambda|, where weights came from gradients at encoder states.
    """

    names: list[str]
    gramians: dict[str, Tensor]
    cross: dict[str, Tensor] = field(default_factory=dict)
    halved: list[str] = field(default_factory=list)
    merged: float = 0.0
    pull: float = 0.0
    deviation: float | None = None

    @property
    def gramian(self) -> Tensor:
        """Inner products over all layers."""
        return torch.stack(list(self.gramians.values())).sum(0)

    def among(self, names: Sequence[str]) -> Tensor:
        """Inner products (K, K) of some of them, over all layers."""
        index = torch.tensor([self.names.index(name) for name in names])
        return self.gramian[index[:, None], index]

    def line(self) -> dict[str, object]:
        """Plain values for a log; M gradients, a value per layer by its name, the whole encoder as `all` or in the key beside.

        names: of the gradients. matrix, layers: cosines (M, M) on one batch, where gradients of one stream share its noise. cross: cosines
        (M, M) of independent batches, on the diagonal of each gradient with itself; null where they were not compared. halved: as above.
        norm, norms: lengths (M). rate: the share of pairs whose cosine on one batch is negative, which is half of them where all is noise.
        merged, pull, deviation: as above.
        """
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
            **({"cross": {layer: cosines.tolist() for layer, cosines in self.cross.items()}, "halved": self.halved} if self.cross else {}),
            **({} if self.deviation is None else {"deviation": self.deviation}),
        }


def cosines(gramian: Tensor) -> Tensor:
    """Cosines (M, M) of the angles between gradients, from G G^T (M, M) of one batch; 0 beside a gradient that is 0."""
    gramian = gramian.detach().double()
    lengths = norms(gramian).outer(norms(gramian))
    return torch.where(lengths > 0, gramian / lengths, 0.0).clamp(-1, 1)


def cross_cosines(products: Tensor, owners: Sequence[int], batches: Sequence[set]) -> Tensor:
    """Cosines (L + 1, M, M) of M gradients on independent batches, for each layer and as the last over all of them.

    products: of N >= M rows (L, N, N); owners: the gradient of every row, from 0 to M - 1; batches: what every row was computed from. Two
    rows that share nothing have independent noise, so the mean of their product is the product of their means: that of the true
    gradients, also on the diagonal (which MoDo builds on; Chen et al. 2023). The mean over all pairs of such rows is divided by the lengths
    of the gradients, of several rows the geometric mean. On the diagonal: signal^2 / (signal^2 + noise^2), how well a gradient
    repeats on another batch. NaN where no two rows are independent, and beside a gradient that is 0.
    """
    products = torch.cat([products, products.sum(0, keepdim=True)])
    mine = torch.nn.functional.one_hot(torch.tensor(owners)).to(products)  # (N, M)
    independent = torch.tensor([[not first & second for second in batches] for first in batches]).to(products)  # (N, N)
    means = (mine.T @ (products * independent) @ mine) / (mine.T @ independent @ mine)  # 0 / 0 is NaN
    squares = products.diagonal(dim1=1, dim2=2).clamp(min=0)
    lengths = (0.5 * (squares.log() @ (mine / mine.sum(0)))).exp()  # (L + 1, M)
    cosines = means / (lengths[:, :, None] * lengths[:, None])
    return cosines.where(cosines.isfinite(), torch.nan)


def norms(gramian: Tensor) -> Tensor:
    """Lengths (M,) of gradients from G G^T (M, M) of one batch."""
    return gramian.diagonal().clamp(min=0).sqrt()


def conflict_rate(gramian: Tensor) -> float:
    """The share of pairs of gradients with a negative inner product in G G^T (M, M), by noise or in truth; 0 for a single gradient."""
    row, column = torch.triu_indices(len(gramian), len(gramian), offset=1, device=gramian.device)
    pairs = gramian[row, column]
    return float((pairs < 0).double().mean()) if len(pairs) else 0.0


def merged_norm(gramian: Tensor, weights: Tensor) -> float:
    """||sum_m w_m g_m|| from G G^T (M, M) and weights (M,): 0 at a Pareto-stationary point under MGDA's weights."""
    weights = weights.to(gramian.device, torch.float64)
    return float((weights @ gramian.detach().double() @ weights).clamp(min=0).sqrt())
