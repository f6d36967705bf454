"""The corpora that `prepare` and `download` know, by name; the module of a corpus turns its files into data directories."""

from __future__ import annotations

from m2asr.corpora import aishell1, aishell2, covost2, debtexts, librispeech, librispeech_lm, mini, mls, tedlium2, tsv, wenetspeech
from m2asr.corpora.debspeech import prepare as debspeech

CORPORA = {
    "aishell1": aishell1.prepare,
    "aishell2": aishell2.prepare,
    "covost2": covost2.prepare,
    "debspeech": debspeech.prepare,
    "debtexts": debtexts.prepare,
    "librispeech": librispeech.prepare,
    "mini": mini.prepare,
    "mls": mls.prepare,
    "tedlium2": tedlium2.prepare,
    "tsv": tsv.prepare,
    "wenetspeech": wenetspeech.prepare,
}
DOWNLOADS = {
    "aishell1": aishell1.fetch,
    "covost2": covost2.fetch,
    "debspeech": debspeech.fetch,
    "debtexts": debtexts.fetch,
    "librispeech": librispeech.fetch,
    "librispeech_lm": librispeech_lm.fetch,
    "mls": mls.fetch,
    "tedlium2": tedlium2.fetch,
}
ON_APPLICATION = {"aishell2": aishell2.APPLY, "commonvoice": covost2.VOICES, "wenetspeech": wenetspeech.APPLY}  # how to get them
