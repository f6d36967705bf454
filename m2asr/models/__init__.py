"""Models; a config names the modules of `model:` by the keys of these tables.

A config gives most arguments of a module. Its class lists in `system_arguments` those that the system gives: feat_dim, the channels of the
features; dim, the width of the encoder; memory_dim, the width of the states that a decoder attends to; vocab, the number of tokens; and
prefixes, the languages that its objectives write.
"""

from __future__ import annotations

from m2asr.models.conformer import Conformer
from m2asr.models.decoder import TransformerDecoder
from m2asr.models.embedding import MaskVector, TokenEmbedding

ENCODERS = {"conformer": Conformer}
DECODERS = {"transformer": TransformerDecoder}
MODULES = {**ENCODERS, **DECODERS, "embedding": TokenEmbedding, "mask_vector": MaskVector}
