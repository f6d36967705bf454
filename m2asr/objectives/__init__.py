"""Objectives: one file per loss; a config names them by the keys of this table."""

from __future__ import annotations

from m2asr.objectives.attention import Attention
from m2asr.objectives.balance import Balance
from m2asr.objectives.contrastive import Contrastive
from m2asr.objectives.cpc import CPC
from m2asr.objectives.ctc import CTC
from m2asr.objectives.langid import LanguageId
from m2asr.objectives.masked_lm import MaskedLM
from m2asr.objectives.self_distillation import SelfDistillation
from m2asr.objectives.transducer import Transducer

OBJECTIVES = {
    "ctc": CTC,
    "attention": Attention,
    "transducer": Transducer,
    "langid": LanguageId,
    "cpc": CPC,
    "contrastive": Contrastive,
    "masked_lm": MaskedLM,
    "balance": Balance,
    "self_distillation": SelfDistillation,
}
