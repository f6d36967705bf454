"""Models; a config names encoders by the keys of this table."""

from __future__ import annotations

from m2asr.models.conformer import Conformer

ENCODERS = {"conformer": Conformer}
