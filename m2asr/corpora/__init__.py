"""Corpora: one file each, from the raw layout to data directories; `prepare` knows them by the keys of this table."""

from __future__ import annotations

from m2asr.corpora import aishell1, aishell2, covost2, librispeech, mini, mls, tedlium2, tsv, wenetspeech

CORPORA = {
    "aishell1": aishell1.prepare,
    "aishell2": aishell2.prepare,
    "covost2": covost2.prepare,
    "librispeech": librispeech.prepare,
    "mini": mini.prepare,
    "mls": mls.prepare,
    "tedlium2": tedlium2.prepare,
    "tsv": tsv.prepare,
    "wenetspeech": wenetspeech.prepare,
}
