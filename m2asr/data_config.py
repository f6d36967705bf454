"""The parts of a training config that say what is read: features, streams of utterances or texts, and tokenizers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from m2asr.config import Strict
from m2asr.errors import UserError
from m2asr.limits import Speed
from m2asr.names import FileName, TextName


class Features(Strict):
    """The source of features: `dump` reads stored fbank, `audio` computes it from the recordings while training."""

    source: Literal["dump", "audio"] = "dump"


class Stream(Strict):
    """A named stream of utterances: training sets, development sets, and the language where it has only one."""

    sets: list[FileName] = Field(min_length=1)
    dev: list[FileName] = []
    lang: FileName | None = None
    speeds: list[Speed] = Field([1.0], min_length=1)  # speed perturbation (Ko et al. 2015), drawn per utterance


class Tokens(Strict):
    """A tokenizer trained on one text file of some training sets; ids: 0 blank, 1 unk, last sos/eos."""

    type: Literal["char", "words", "codes", "unigram", "bpe"] = "char"  # words: what spaces separate, such as phones; codes: BPE over them
    size: Annotated[int, Field(ge=4, le=1_000_000)] | None = None  # of unigram, bpe and codes, and of the most frequent words
    sets: list[FileName] = Field(min_length=1)
    text: TextName = "text"
    coverage: Annotated[float, Field(ge=0.98, le=1)] = 1.0  # unigram and bpe: share of all letters that are among the tokens
    byte_fallback: bool = False  # unigram and bpe: 256 tokens of bytes write the characters that are no tokens

    @model_validator(mode="after")
    def _pieces_alone(self) -> Tokens:
        for name in ("coverage", "byte_fallback"):
            if self.type not in ("unigram", "bpe") and getattr(self, name) != type(self).model_fields[name].default:
                raise UserError(f"tokens: {name} is of types unigram and bpe; take it away, or choose one of them")
        return self
