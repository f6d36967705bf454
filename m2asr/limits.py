"""The numbers of configs and of constructors that configs call: each has a type and limits, and is finite."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

Count = Annotated[int, Ge(1), Le(1_000_000_000)]
Bounded = Annotated[int, Ge(1), Le(10_000)]  # of what each takes memory or time: micro-batches, buckets, predicted states
Natural = Annotated[int, Ge(0), Le(1_000_000_000)]
Seed = Annotated[int, Ge(0), Le(2**53)]  # which JSON keeps exactly
Depth = Annotated[int, Ge(1), Le(1_000)]  # blocks, layers
Width = Annotated[int, Ge(1), Le(100_000)]  # entries of a vector, heads, experts
Upsampling = Annotated[int, Ge(1), Le(100)]  # labels of CTC per encoder state
Kernel = Annotated[int, Ge(1), Le(10_000)]  # frames or tokens of a convolution

Masks = Annotated[int, Ge(0), Le(1_000)]  # of SpecAugment, per utterance
Beam = Annotated[int, Ge(1), Le(10_000)]  # hypotheses that a search keeps

Positive = Annotated[float, Gt(0), Le(1e9)]
Factor = Annotated[float, Ge(0), Le(1e9)]  # a weight, a rate, a length that may be 0
Signed = Annotated[float, Ge(-1e9), Le(1e9)]
Share = Annotated[float, Ge(0), Le(1)]
Speed = Annotated[float, Ge(0.1), Le(10)]  # at which recordings are played
PositiveShare = Annotated[float, Gt(0), Le(1)]
ShareBelowOne = Annotated[float, Ge(0), Lt(1)]  # dropout, momentum
