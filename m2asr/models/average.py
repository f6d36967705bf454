"""Modules whose weights are means of those that other modules have had."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor, nn


class Average(nn.Module):
    """Copies of modules; after every step a weight w' of theirs becomes decay w' + (1 - decay) w.

    This is the mean teacher of Tarvainen and Valpola (2017). Every copy is an attribute with the name of its original. Its weights are
    buffers: checkpoints hold them, no optimizer sees them, and no gradient goes into them. They take the memory of the originals once
    more, and a step reads and writes them once.
    """

    def __init__(self, modules: Mapping[str, nn.Module], decay: float) -> None:
        super().__init__()
        self.decay = decay
        self._originals = (dict(modules),)  # a tuple hides their parameters from nn.Module
        copies = copy.deepcopy(dict(modules))  # in one call, so that a copy that calls another module calls the copy of that
        for name, module in copies.items():
            for part in module.modules():
                for key, parameter in list(part.named_parameters(recurse=False)):
                    del part._parameters[key]
                    part.register_buffer(key, parameter.detach())
            self.add_module(name, module)

    def restart(self) -> None:
        """Take over the weights of the originals."""
        for mean, value in self._pairs():
            mean.copy_(value)

    def after_step(self) -> None:
        """Follow the originals, which have made a step."""
        for mean, value in self._pairs():
            if mean.is_floating_point():
                mean.lerp_(value, 1 - self.decay)
            else:
                mean.copy_(value)

    def _pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Every weight with that of the original."""
        pairs = []
        for name, original in self._originals[0].items():
            means = getattr(self, name).state_dict()
            pairs += [(means[key], value) for key, value in original.state_dict().items()]
        return pairs
