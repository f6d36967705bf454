"""Models; a config names encoders and decoders by the keys of these tables."""

from __future__ import annotations

from m2asr.models.conformer import Conformer
from m2asr.models.decoder import TransformerDecoder

ENCODERS = {"conformer": Conformer}
DECODERS = {"transformer": TransformerDecoder}
