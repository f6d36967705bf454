"""Public corpora: one file each, from the raw layout to data directories; `prepare` knows them by the keys of this table."""

from __future__ import annotations

from m2asr.corpora import librispeech, mini
from m2asr.corpora.debspeech import prepare as debspeech

CORPORA = {
    "debspeech": debspeech.prepare,
    "librispeech": librispeech.prepare,
    "mini": mini.prepare,
}
DOWNLOADS = {
    "debspeech": debspeech.fetch,
}
