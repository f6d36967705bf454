"""Public corpora: one file each, from the raw layout to data directories; `prepare` knows them by the keys of this table."""

from __future__ import annotations

from m2asr.corpora import librispeech, mini

CORPORA = {
    "librispeech": librispeech.prepare,
    "mini": mini.prepare,
}
