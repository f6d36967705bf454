"""Models; a config names the modules of `model:` by the keys of these tables.

A class says in `given` what the system tells it: feat_dim, channels of the features; dim, the encoder's width; memory_dim, the width of the
states that it attends to; vocab and prefixes, tokens and languages that its objectives write.
"""

from __future__ import annotations

from m2asr.models.conformer import Conformer
from m2asr.models.decoder import TransformerDecoder
from m2asr.models.embedding import MaskVector, TokenEmbedding

ENCODERS = {"conformer": Conformer}
DECODERS = {"transformer": TransformerDecoder}
MODULES = {**ENCODERS, **DECODERS, "embedding": TokenEmbedding, "mask_vector": MaskVector}
