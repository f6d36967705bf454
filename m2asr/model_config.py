"""The parts of a training config that describe the model: named modules, the processing of their input, and objectives."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from m2asr.config import Component, Strict, nearest
from m2asr.errors import UserError
from m2asr.limits import Factor, Masks, Natural, Share
from m2asr.names import RULES, SYSTEM, TAKEN, is_name, is_text_name


class SpecAugment(Strict):
    """Frequency and time masking; widths in mel channels and frames (Park et al. 2019)."""

    freq_masks: Masks = 2
    freq_width: Natural = 27
    time_masks: Masks = 2
    time_width: Natural = 40
    time_share: Share = 0.2  # one time mask covers at most this share of the utterance


class Model(BaseModel):
    """The named modules of a system and the processing of their input: `encoder`, and modules that objectives name, such as decoders.

    Every key but cmvn and specaugment is a module; null is none. `decoders: {name: ...}` is the same as these names beside the encoder.
    """

    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[str, Component]

    encoder: Component
    cmvn: Literal["global", "utterance", "none"] = "global"
    specaugment: SpecAugment | None = SpecAugment()

    @model_validator(mode="before")
    @classmethod
    def _decoders_are_modules(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        decoders = data.get("decoders")
        if not isinstance(decoders, dict | None):
            raise UserError("model.decoders: give each decoder a name, such as {english: {type: transformer}}")
        data = {key: value for key, value in data.items() if key != "decoders" and (value is not None or key in cls.model_fields)}
        decoders = {name: value for name, value in (decoders or {}).items() if value is not None}
        for name in decoders:
            if name in data:
                raise UserError(f"model.decoders.{name}: this name is taken in `model`; give the decoder another one")
        data |= decoders
        for name, value in data.items():
            if name not in cls.model_fields and not (isinstance(value, str | Component) or (isinstance(value, dict) and "type" in value)):
                raise UserError(f"model.{name}: unknown key; {nearest(name, cls.model_fields)}; a module has a `type`")
            if not isinstance(name, str) or not is_name(name):
                raise UserError(f"model.{name}: {RULES[is_name]}; quote it, or choose another one")
            if name in TAKEN | SYSTEM - cls.model_fields.keys():
                raise UserError(f"model.{name}: this name is taken; choose another one")
        return data

    def modules(self) -> dict[str, Component]:
        """The modules by name, the encoder first."""
        return {"encoder": self.encoder, **(self.model_extra or {})}

    def router_languages(self) -> list[str]:
        """The languages that the routers of the encoder's experts tell apart, by what the data say."""
        return (self.encoder.options().get("experts") or {}).get("languages") or []


class Objective(Component):
    """A named loss on one stream; the remaining keys belong to the loss class.

    With `role: regular` it is on no level: `weight` times its loss is added in every phase that reads its stream, for all parameters that
    it trains. If several objectives of a type write the same text in the same tokens of a stream, search uses the one with `lead`, or else
    the one at the latest tap. Search, scores and the selection of epochs ignore an objective with `decode: false`.
    """

    stream: str
    level: Literal["upper", "lower"] | None = None  # short for `levels`; upper where neither is given
    role: Literal["merged", "regular"] = "merged"
    weight: Factor = 1.0  # of a regular objective
    lead: bool = False
    decode: bool = True

    @model_validator(mode="after")
    def _reads_tables(self) -> Objective:
        options = self.options()
        view = options.get("view")
        if view is not None and not isinstance(view, dict):
            raise PydanticCustomError("view", "view: write a mapping, such as {mask: {probability: 0.07, length: 10}}")
        for text in (options.get("text", "text"), (view or {}).get("text", "text")):
            if not isinstance(text, str) or not is_text_name(text):
                raise PydanticCustomError("text", f"text: {RULES[is_text_name]}")
        return self
