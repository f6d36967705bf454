"""The base class of objectives that predict, at masked states, what a quantizer makes of the unmasked ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from m2asr.data.batch import Batch, Share
from m2asr.errors import UserError
from m2asr.models.encoded import Encoded
from m2asr.models.quantizers import Quantized, Quantizer, code_counts, perplexity
from m2asr.objectives.objective import Metric, Objective
from m2asr.objectives.view import View, ViewOptions, view_of
from m2asr.seeds import seed_of

FEWEST, SMALLEST_SHARE = 2.0, 0.01  # a codebook has collapsed below this perplexity, or below this share of its entries


class MaskedObjective(Objective):
    """Reads a tap of a masked view, and the front-end states before the mask, which go to a quantizer of the system.

    All masked states of a batch go to the quantizer in one order, with a seed from the batch and the quantizer's name. So all objectives
    that name this quantizer with the same view have the same codes.

    Args:
        modules: the named modules of the system.
        quantizer: the name of the quantizer.
        view: needs a mask.
        tap: the states that predict; `frontend` is refused, since it is before the mask.
        languages: of the stream, from whose sets training takes them; with two or more there is a perplexity of the codes of each.
    """

    self_supervised = True
    module_options = ("quantizer",)

    def __init__(
        self, modules: Mapping[str, nn.Module], quantizer: str, view: ViewOptions | None, tap: str, languages: list[str] | None
    ) -> None:
        read = masked_view(view, tap)
        super().__init__([(read, tap), (read, "frontend")])
        self.tap, self.quantizer_name = tap, quantizer
        self.languages = list(languages) if languages and len(languages) > 1 else []
        self.metrics = (*type(self).metrics, *(f"perplexity_{lang}" for lang in self.languages))
        self._quantizer = (modules[quantizer],)  # a tuple hides its parameters from nn.Module: they belong to the system

    @property
    def quantizer(self) -> Quantizer:
        """The quantizer, which other objectives may call too."""
        return self._quantizer[0]

    def masked_share(self, batch: Batch) -> tuple[Share, np.ndarray]:
        """A share with the masked states of a batch and the quantizer's seed; and the number of masked states (B,) of every utterance."""
        mask = batch.drawn[self.views[0]].tensors["mask"].numpy()  # (B, T')
        rows, steps = mask.nonzero()  # (N,), (N,)
        tensors = {"rows": torch.from_numpy(rows), "steps": torch.from_numpy(steps)}
        sizes = {"seed": np.array([seed_of(*batch.key, self.quantizer_name)])}
        if self.languages:
            spoken = np.array([self.languages.index(lang) if lang in self.languages else -1 for lang in batch.lang])[rows]  # (N,)
            tensors["languages"], sizes["languages"] = torch.from_numpy(spoken), np.unique(spoken[spoken >= 0])
        return Share(float(len(rows)), tensors=tensors, sizes=sizes), mask.sum(1)

    def masked(self, encoded: Mapping[View, Encoded], share: Share, tap: str) -> Tensor:
        """The states (N, D) at a tap where the batch is masked."""
        return encoded[self.views[0]].states[tap][share.tensors["rows"], share.tensors["steps"]]

    def quantized(self, encoded: Mapping[View, Encoded], share: Share) -> Quantized:
        """The quantizer's result from the unmasked front-end states (N, D) where the batch is masked."""
        return self.quantizer(self.masked(encoded, share, "frontend"), int(share.sizes["seed"][0]))

    def perplexities(self, codes: Tensor, share: Share) -> dict[str, Metric]:
        """The metric `perplexity` of the codes (N, G) of a batch, and those of the languages in it."""
        entries = self.quantizer.entries
        metrics: dict[str, Metric] = {"perplexity": (perplexity(code_counts(codes, entries)), 1.0)}
        for number in share.sizes.get("languages", ()):
            counts = code_counts(codes, entries, share.tensors["languages"] == int(number))
            metrics[f"perplexity_{self.languages[number]}"] = (perplexity(counts), 1.0)
        return metrics

    def warning(self, metrics: Mapping[str, float]) -> str | None:
        found, entries = metrics.get("perplexity", float("nan")), self.quantizer.entries
        if not found < max(FEWEST, SMALLEST_SHARE * entries):
            return None
        remedy = "raise `diversity` or lower `optim.lr.ssl`" if list(self.quantizer.parameters()) else "it suits these features badly"
        return f"the codebook of {self.quantizer_name} has collapsed: the perplexity is {found:.1f} of {entries}; {remedy}"


def masked_view(view: ViewOptions | None, tap: str) -> View:
    """The view of an objective that learns at masked states. Raises UserError for one without a mask, or a tap before it."""
    if view is None or view.mask is None:
        raise UserError("view.mask: missing; only masked states are learned, so give `view: {mask: {probability: 0.065, length: 10}}`")
    if tap == "frontend":
        raise UserError("tap: `frontend` is before the mask, so there would be nothing to predict; name a block, or output")
    return view_of(view)
