"""The complete model of a run: normalization, named modules, and the objectives with their heads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import Parameter

from m2asr.data.augment import spec_augment
from m2asr.data.batch import Batch, Drawn
from m2asr.errors import UserError
from m2asr.model_config import SpecAugment
from m2asr.models.encoded import Encoded
from m2asr.models.experts import ExpertLinear
from m2asr.models.layers import round_length
from m2asr.objectives.objective import Objective
from m2asr.objectives.view import View, cut_windows
from m2asr.seeds import seed_of, seed_torch

MASK_SCALE = 0.1  # standard deviation of the random vectors that replace masked states (Chiu et al. 2022, BEST-RQ; w2v-BERT names none)


class System(nn.Module):
    """The named modules and the objectives of a run.

    `prepare` draws the random numbers of a batch, `encode` turns the batch into states, and an objective turns states into a loss. Every
    module is an attribute with its name, so the names of its weights begin with that name; there is always an `encoder`.
    """

    def __init__(
        self, modules: Mapping[str, nn.Module], objectives: Mapping[str, Objective], cmvn: str, augment: SpecAugment | None, feat_dim: int
    ) -> None:
        super().__init__()
        self.cmvn, self.augment = cmvn, augment
        self.register_buffer("mean", torch.zeros(feat_dim))
        self.register_buffer("scale", torch.ones(feat_dim))
        self.objectives = nn.ModuleDict(objectives)
        self.module_names = tuple(modules)
        self.spread_names: frozenset[str] = frozenset()  # names of parameters of which every process has another part
        self.averages = {
            view: objective.average for objective in objectives.values() for view in objective.views if view.average is not None
        }
        experts, condition = modules["encoder"].experts, modules["encoder"].condition
        self.embedding_name = experts and experts.embedding  # the name of the network that routers read, or None
        self.head_name = condition and condition.head  # the name of the head that states are conditioned on, or None
        for name, module in modules.items():
            if hasattr(self, name):
                raise UserError(f"model.{name}: this name is taken; choose another name for the module")
            self.add_module(name, module)

    def prepare(self, batch: Batch, objectives: Iterable[str] = (), views: Iterable[View] = ()) -> Batch:
        """Draw the views of a batch and compute the shares of the objectives, on the host; the batch's key alone decides the result."""
        names = list(objectives)
        for view in dict.fromkeys([*views, *(view for name in names for view in self.objectives[name].views)]):
            if view not in batch.drawn:
                batch.drawn[view] = self._draw(batch, view)
        for name in names:
            objective = self.objectives[name]
            batch.shares[name] = objective.share(batch, np.random.default_rng(seed_of(*batch.key, name)))
        return batch

    def encode(self, batch: Batch, view: View, taps: Collection[str]) -> Encoded:
        """The states at `taps` of a prepared view; the key of the batch seeds dropout and augmentation."""
        drawn, train = batch.drawn[view], self.training and view.train
        network = self.averages.get(view, self)
        network.encoder.train(train)
        seed_torch(*batch.key, view.key)
        with torch.set_grad_enabled(torch.is_grad_enabled() and view.grad):
            feats = self._features(batch, view, train) if view.input == "feats" else None  # (R, T, F)
            if feats is not None:
                states = network.encoder.frontend(feats)  # (R, T', D)
            else:
                tokens = drawn.tensors.get("tokens", batch.inputs[view.input])  # (B, U)
                size = round_length(max(1, tokens.shape[1]))  # texts that are all empty still need a padded position
                states = getattr(network, view.embed)(F.pad(tokens, (0, size - tokens.shape[1])))
            states_at = {"frontend": states} if "frontend" in taps else {}
            mask = drawn.tensors.get("mask")  # (R, at most T')
            if mask is not None:
                mask = F.pad(mask, (0, states.shape[1] - mask.shape[1]))
                states = self._masked(states, mask, view)
            lengths, padded = drawn.tensors["states"], bool((drawn.states < states.shape[1]).any())
            embedded = None if self.embedding_name is None else self._embed(feats, drawn, view, train, grad=self.embedding_name in taps)
            if self.embedding_name in taps:
                states_at[self.embedding_name] = embedded
            beside = self._beside(states, drawn, embedded, view.causal)
            head = getattr(network, self.head_name) if self.head_name else None
            if set(taps) - states_at.keys():
                states_at |= network.encoder(states, lengths, taps, view.start, view.causal, padded, beside, head)
        return Encoded(states_at, lengths, mask)

    def normalize(self, feats: Tensor, lengths: Tensor) -> Tensor:
        """Normalize mean and variance: (B, T, F) -> (B, T, F), with zeros in the padding."""
        valid = (torch.arange(feats.shape[1], device=feats.device) < lengths[:, None]).unsqueeze(-1)  # (B, T, 1)
        if self.cmvn == "global":
            feats = (feats - self.mean) * self.scale
        elif self.cmvn == "utterance":
            count = lengths.clamp(min=1)[:, None, None]
            mean = (feats * valid).sum(1, keepdim=True) / count
            variance = ((feats - mean).square() * valid).sum(1, keepdim=True) / count
            feats = (feats - mean) * variance.clamp(min=1e-8).rsqrt()
        return feats.masked_fill(~valid, 0.0)

    def theta(self, over: Iterable[str]) -> dict[str, nn.Module]:
        """The modules whose gradient is merged: those of `over`, and with the encoder those that run before it in some view, or in it.

        Raises UserError for the head that states are conditioned on without the encoder that it runs in.
        """
        names = list(over)
        if self.head_name in names and "encoder" not in names:
            raise UserError(f"weighting.over: {self.head_name} also runs within the encoder (`condition`); name both, or neither")
        if "encoder" in names:
            views = [view for objective in self.objectives.values() for view in objective.views]
            names += [name for view in views for name in (view.embed, view.mask and view.mask.vector) if name]
            names += [self.head_name] if self.head_name else []
        return {name: getattr(self, name) for name in self.module_names if name in names}

    def source(self, tap: str) -> str:
        """The module whose states are at a tap."""
        return tap if tap == self.embedding_name else "encoder"

    def reaches(self, objective: str, theta: Collection[str]) -> bool:
        """Whether this objective has a gradient for one of the modules `theta`."""
        through_states = any(self.source(tap) in theta for view, tap in self.objectives[objective].reads if view.grad)
        return through_states or any(name in theta for name in self.objectives[objective].runs)

    def compares(self, objective: str) -> bool:
        """Whether the loss of an utterance depends on the other ones in the batch; experts with a capacity take the first states in it."""
        experts = self.encoder.experts
        return self.objectives[objective].compares or (experts is not None and experts.capacity is not None)

    def after_step(self, objectives: Iterable[str]) -> None:
        """Tell the modules that these objectives train that a step was applied, those that follow the number of steps."""
        for name in dict.fromkeys(name for objective in objectives for name in self.objectives[objective].runs):
            module = getattr(self, name)
            if hasattr(module, "after_step"):
                module.after_step()

    def groups(self, theta: Collection[str]) -> dict[str, list[tuple[str, Parameter]]]:
        """Named parameters per learning-rate group.

        `backbone` has those of theta and of an embedding network, `ssl` those of self-supervised objectives, `heads` the remaining ones. A
        module outside theta belongs to `ssl` if all objectives that use it are self-supervised.
        """
        groups: dict[str, list[tuple[str, Parameter]]] = {"backbone": [], "heads": [], "ssl": []}
        for name in self.module_names:
            users = [objective for objective in self.objectives.values() if name in objective.runs]
            ssl = bool(users) and all(objective.self_supervised for objective in users)
            group = "backbone" if name in theta or name in ("encoder", self.embedding_name) else "ssl" if ssl else "heads"
            groups[group] += getattr(self, name).named_parameters(name)
        for name, objective in self.objectives.items():
            groups["ssl" if objective.self_supervised else "heads"] += objective.named_parameters(f"objectives.{name}")
        return {group: parameters for group, parameters in groups.items() if parameters}

    @property
    def stacks(self) -> list[str]:
        """Names of the parameters that hold those of all experts, along their first dimension."""
        layers = [(name, layer) for name, layer in self.named_modules() if isinstance(layer, ExpertLinear)]
        return [f"{name}.{parameter}" for name, layer in layers for parameter, _ in layer.named_parameters(recurse=False)]

    @property
    def spread_parameters(self) -> set[Parameter]:
        """The parameters of which every process has another part."""
        return {self.get_parameter(name) for name in self.spread_names}

    def sizes(self, processes: int) -> dict[str, int]:
        """The numbers of values of all parameters, in all `processes` where these have parts of them."""
        return {name: param.numel() * (processes if name in self.spread_names else 1) for name, param in self.named_parameters()}

    @property
    def untrained(self) -> str | None:
        """The network that routers read, where nothing trains it: the gradient of an objective at another tap does not go through it."""
        taps = {tap for objective in self.objectives.values() for _, tap in objective.reads}
        return None if self.embedding_name in taps else self.embedding_name

    def blank(self, views: Iterable[View]) -> Batch:
        """A batch of one utterance that is empty, with these views drawn and no share for any objective; it has no valid state."""
        views = list(views)
        inputs = {view.input: torch.zeros(1, 0, dtype=torch.int64) for view in views}
        if "feats" in inputs:
            inputs["feats"] = torch.zeros(1, 0, len(self.mean), dtype=next(self.parameters()).dtype)
        lengths = {kind: torch.zeros(1, dtype=torch.int64) for kind in inputs}
        batch = Batch(inputs, lengths, {}, {}, lang=[""], speakers=[""], utt_ids=[""], key=(0,))
        return self.prepare(batch, views=views).to(self.mean.device)

    def module_parameters(self) -> list[tuple[str, list[Parameter]]]:
        """The parameters of each module and of each objective, with its name; gradients are clipped by these groups."""
        modules = [*((name, getattr(self, name)) for name in self.module_names), *self.objectives.items()]
        return [(name, list(module.parameters())) for name, module in modules]

    def _draw(self, batch: Batch, view: View) -> Drawn:
        lengths = batch.lengths[view.input].numpy()
        if view.cut is not None:
            drawn = cut_windows(lengths, view.cut, np.random.default_rng(seed_of(*batch.key, view.cut.key)))
        else:
            drawn = Drawn(lengths, np.arange(len(lengths)))
        drawn.states = self.encoder.output_lengths(drawn.lengths) if view.input == "feats" else drawn.lengths
        drawn.tensors |= {"lengths": torch.from_numpy(drawn.lengths), "states": torch.from_numpy(drawn.states)}
        if self.encoder.experts is not None and self.encoder.experts.languages:
            spoken = self.encoder.experts.one_hot(batch.lang, batch.utt_ids)  # (B, L)
            drawn.tensors["language"] = torch.from_numpy(spoken[drawn.utterances])
        if view.mask is not None:
            rng = np.random.default_rng(seed_of(*batch.key, view.key, "mask"))
            drawn.tensors["mask"] = torch.from_numpy(view.mask.draw(drawn.states, int(drawn.states.max(initial=0)), rng))
        if view.noise is not None:
            rng = np.random.default_rng(seed_of(*batch.key, view.key, "noise"))
            tokens = batch.inputs[view.input].cpu().numpy()  # (B, U)
            drawn.tensors["tokens"] = torch.from_numpy(view.noise.corrupt(tokens, lengths, getattr(self, view.embed).vocab, rng))
        return drawn

    def _features(self, batch: Batch, view: View, train: bool) -> Tensor:
        """Normalized and augmented features (R, T, F) of a view."""
        feats, tensors = batch.inputs["feats"], batch.drawn[view].tensors
        if view.cut is not None:  # all pieces have one length: no further padding
            return self.normalize(feats[tensors["rows"][:, None], tensors["frames"]], tensors["lengths"])
        feats = self.normalize(feats, tensors["lengths"])
        if train and not view.causal and self.augment is not None:
            generator = torch.Generator().manual_seed(seed_of(*batch.key, view.key, "augment"))
            feats = spec_augment(feats, tensors["lengths"], self.augment, generator)
        return self.encoder.pad(feats)

    def _embed(self, feats: Tensor, drawn: Drawn, view: View, train: bool, grad: bool) -> Tensor:
        """The states (R, T', E) of the embedding network."""
        network = getattr(self, self.embedding_name).train(train)
        with torch.set_grad_enabled(torch.is_grad_enabled() and grad):
            states = network.frontend(feats)
            padded = bool((drawn.states < states.shape[1]).any())
            return network(states, drawn.tensors["states"], causal=view.causal, padded=padded)["output"]

    def _beside(self, states: Tensor, drawn: Drawn, embedded: Tensor | None, causal: bool) -> Tensor | None:
        """What the routers of experts read beside states (R, T', D)."""
        if self.encoder.experts is None:
            return None
        return self.encoder.experts.beside(states, drawn.tensors["states"], embedded, drawn.tensors.get("language"), causal)

    def _masked(self, states: Tensor, mask: Tensor, view: View) -> Tensor:
        if view.mask.vector is not None:
            return getattr(self, view.mask.vector)(states, mask)
        return torch.where(mask.unsqueeze(-1), MASK_SCALE * torch.randn_like(states), states)
