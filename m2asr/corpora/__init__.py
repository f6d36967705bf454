"""Corpora: one file each, from the raw layout to data directories; `prepare` knows them by the keys of this table."""

from __future__ import annotations

from m2asr.corpora import aishell1, aishell2, covost2, librispeech, mini, mls, tedlium2, tsv, wenetspeech
from m2asr.corpora.debspeech import prepare as debspeech

CORPORA = {
    "aishell1": aishell1.prepare,
    "aishell2": aishell2.prepare,
    "covost2": covost2.prepare,
    "debspeech": debspeech.prepare,
    "librispeech": librispeech.prepare,
    "mini": mini.prepare,
    "mls": mls.prepare,
    "tedlium2": tedlium2.prepare,
    "tsv": tsv.prepare,
    "wenetspeech": wenetspeech.prepare,
}
DOWNLOADS = {
    "debspeech": debspeech.fetch,
}
