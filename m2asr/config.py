"""Reads typed, strict configs: YAML and dotted overrides; a mistake is reported in one line, with the nearest valid name."""

from __future__ import annotations

import difflib
import inspect
import re
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, create_model, model_validator

from m2asr.errors import UserError, shortened
from m2asr.limits import Beam, Count, Factor, Natural, Positive, Share, Signed, Speed
from m2asr.names import FileName
from m2asr.yaml_file import parse_yaml, read_yaml


class Strict(BaseModel):
    """A section of a config: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Component(BaseModel):
    """A section whose `type` names a class; the other keys are arguments of this class, which `construct` checks.

    A word alone is short for `{type: word}`: `--set weighting=mgda` swaps the method together with its options.
    """

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)
    type: str

    @model_validator(mode="before")
    @classmethod
    def _word_is_type(cls, data: Any) -> Any:
        return {"type": data} if isinstance(data, str) else data

    def options(self) -> dict[str, Any]:
        """The arguments of the class that `type` names."""
        return dict(self.model_extra or {})

    def type_and_options(self) -> dict[str, Any]:
        """`type` and the options in one dictionary, as `complete` and `construct` read them."""
        return {"type": self.type, **self.options()}


class FbankConfig(Strict):
    """Log mel filterbank features as Kaldi computes them; times in milliseconds, frequencies in Hz."""

    sample_rate: Annotated[int, Field(ge=1000, le=1_000_000)] = 16000
    num_mel_bins: Annotated[int, Field(ge=1, le=1000)] = 80
    frame_length: Annotated[float, Field(gt=0, le=1000)] = 25.0
    frame_shift: Annotated[float, Field(gt=0, le=1000)] = 10.0
    dither: Factor = 0.0
    low_freq: Factor = 20.0
    high_freq: Signed = 0.0  # from 0 down it counts from half the sample rate
    compress: bool = False
    speed: Speed = 1.0  # speed at which recordings are played; at 0.9 they are a tenth slower and lower
    channel: Annotated[int, Field(ge=0, le=1000)] | Literal["mix"] | None = None  # of several: number, or their mean

    def geometry(self) -> dict[str, Any]:
        """The arguments of Fbank: all options but those of how recordings are played and features are stored."""
        return self.model_dump(exclude={"compress", "speed", "channel"})


NUMBER, NUMBERS = "(number)", "(numbers)"  # tags of the two forms of a value
FORM = re.compile(r"\(numbers?\)|\[key\]|constrained-\w+|(dict|list|tuple|literal)\[.*\]")  # pydantic's tags; they stay out of messages


def _or_list(element: Any) -> Any:
    numbers = Annotated[list[element], Field(min_length=1)]
    kind = Discriminator(lambda value: NUMBERS if isinstance(value, list) else NUMBER)
    return Annotated[Annotated[element, Tag(NUMBER)] | Annotated[numbers, Tag(NUMBERS)], kind]


# A number, or a list of numbers: decoding takes the one that is best on the dev sets.
Numbers = _or_list(Signed)
Weights = _or_list(Factor)
Shares = _or_list(Share)
Words = _or_list(str)  # a word, or a list of words


class LanguageModel(Strict):
    """Settings of the n-gram language models of a search, one per tokenizer.

    A model is estimated from the training texts of its tokenizer, unless `texts` or `arpa` name other files.
    """

    unit: Literal["tokens", "words"] = "tokens"  # a model of the tokenizer's tokens, or of words, each scored when it ends
    order: int = Field(6, ge=1, le=10)
    prune: list[Natural] = [0]  # per order: n-grams with at most this count are left out; the last for all higher
    texts: dict[str, list[str]] = {}  # by tokenizer: data directories, text sets, or files with a sentence per line, also .gz
    every: Count = 1  # read only every n-th line
    normalize: str | None = None  # language whose rules normalize the lines of `texts`, as they normalize transcripts
    arpa: dict[str, str] = {}  # by tokenizer: an ARPA file of an existing model, also .gz
    weight: Weights = 0.5  # factor of its natural log-probability

    @model_validator(mode="after")
    def _prunes_more_of_higher_orders(self) -> LanguageModel:
        if self.prune[:1] != [0] or self.prune != sorted(self.prune) or len(self.prune) > self.order:
            raise UserError(f"lm.prune: {self.prune}: counts must begin with 0 and not fall, at most one per order ({self.order})")
        return self


class HotWords(Strict):
    """Words and phrases that a search prefers; a match begins where a word begins and ends where a word ends."""

    phrases: list[str] = []
    file: str | None = None  # a file with further phrases, one per line
    bonus: Weights = 1.0  # per token of a phrase

    @model_validator(mode="after")
    def _names_some(self) -> HotWords:
        if not self.phrases and self.file is None:
            raise UserError("hotwords: no phrases and no file; name some, or leave the section out")
        return self


class DecodeConfig(Strict):
    """Search settings; `name` becomes the folder decode_<name>.

    One objective decodes each target. `greedy` and `prefix_beam` take its CTC objective, `transducer` its transducer, and the other methods
    its attention objective; a target without such an objective is decoded by another one: by CTC, or else by attention, or else by a
    transducer. `joint` and `rescoring` need a CTC objective beside every attention objective. Where numbers may be lists, each combination
    is tried on the dev sets, and the best one decodes.
    """

    name: FileName = "greedy"
    method: Literal["greedy", "prefix_beam", "transducer", "attention", "joint", "rescoring"] = "greedy"
    beam: Beam = 10
    token_prune: Count = 20  # prefix beam: tokens tried per state; transducers: per prefix and state
    ctc_weight: Shares = 0.3  # joint and rescoring: factor of the CTC score; the decoder's score has 1 - ctc_weight
    length_penalty: Weights = 0.0  # decoder scores are divided by (tokens + 1) ** length_penalty: higher values favour longer texts
    min_tokens: Natural = 0  # a text has at least so many tokens, spaces included, as far as its encoder states can write them
    min_ratio: Share = 0.0  # ... and at least so many per encoder state
    max_ratio: Positive = 1.0  # a decoder writes at most this many tokens per encoder state
    language: Literal["oracle", "predicted"] = "oracle"  # the language whose heads decode an utterance: that of utt2lang, or langid's
    batch_seconds: Positive = 120.0
    lm: LanguageModel | None = None
    bonus: Numbers = 0.0  # added to the score for every token
    hotwords: HotWords | None = None

    @model_validator(mode="after")
    def _greedy_takes_no_other_scores(self) -> DecodeConfig:
        if self.method == "greedy" and (self.lm or self.hotwords or self.bonus or self.min_tokens or self.min_ratio):
            keys = "lm, hotwords, bonus, min_tokens or min_ratio"
            raise UserError(f"method greedy uses no {keys}; take these away, or choose another method, such as prefix_beam")
        return self

    @model_validator(mode="after")
    def _transducers_add_no_score_of_ctc(self) -> DecodeConfig:
        if self.method == "transducer" and self.ctc_weight != type(self).model_fields["ctc_weight"].default:
            raise UserError("method transducer uses no ctc_weight; take it away, or choose method joint or rescoring")
        return self


Config = TypeVar("Config", bound=BaseModel)


def load_config(schema: type[Config], path: str | Path, overrides: list[str] | None = None) -> Config:
    """Read a YAML file, apply overrides such as `optim.lr.heads=1e-4` and check the result against `schema`.

    Raises UserError naming the file, the key and the nearest valid key.
    """
    path = Path(path)
    data = read_yaml(path)
    for override in overrides or []:
        _override(data, override)
    return check_config(schema, data, str(path))


def check_config(schema: type[Config], data: Mapping[str, Any], where: str) -> Config:
    """Build `schema` from plain data. Raises UserError with one line about the first mistake; `where` names the file or section."""
    try:
        return schema.model_validate(data)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except ValidationError as error:
        raise UserError(f"{where}: {_explain(schema, error)}") from None


def complete(family: Mapping[str, type], where: str, component: Mapping[str, Any], supplied: tuple[str, ...] = ()) -> dict[str, Any]:
    """Check the options of a component against the constructor that its `type` names, and fill in the defaults.

    `supplied` names the constructor arguments that the caller supplies, so the config may not. Raises UserError.
    """
    return {"type": component.get("type"), **_options(family, where, component, supplied).model_dump(mode="json")}


def construct(family: Mapping[str, type], where: str, component: Mapping[str, Any], **supplied: Any) -> Any:
    """Build the class that `component["type"]` names from its options and those `supplied` arguments that it takes.

    Raises UserError for options that the class does not have; a UserError of the class itself gets `where` in front.
    """
    options = _options(family, where, component, tuple(supplied))
    cls = family[component["type"]]
    parameters = inspect.signature(cls.__init__).parameters
    values = {name: getattr(options, name) for name in type(options).model_fields}
    try:
        return cls(**values, **{key: value for key, value in supplied.items() if key in parameters})
    except UserError as error:
        text = str(error)
        raise UserError(text if text.startswith(where) else f"{where}: {text}") from None


def _options(family: Mapping[str, type], where: str, component: Mapping[str, Any], supplied: tuple[str, ...]) -> BaseModel:
    if "type" not in component:
        raise UserError(f"{where}.type: missing; valid: {', '.join(family)}")
    check_exists(component["type"], family, f"{where}.type")
    schema = _schema_of(family[component["type"]], supplied)
    return check_config(schema, {key: value for key, value in component.items() if key != "type"}, where)


def dump_config(config: BaseModel) -> str:
    """The resolved config as YAML text."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


def nearest(name: str, names: typing.Iterable[str]) -> str:
    """A hint for a name that does not exist: the nearest valid name, or else all valid names."""
    names = [str(valid) for valid in names]
    matches = difflib.get_close_matches(str(name), names, n=1)
    return f"did you mean `{matches[0]}`?" if matches else "valid: " + (", ".join(names) or "none")


def _override(data: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise UserError(f"override `{override}`: write it as key.key=value", exit_code=2)
    *parents, last = key.split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
        if not isinstance(data, dict):
            raise UserError(f"override `{override}`: `{parent}` is a value, not a section; correct the key", exit_code=2)
    try:
        data[last] = parse_yaml(value, "the value")
    except UserError as error:
        raise UserError(f"override `{override}`: {error}", exit_code=2) from None


def merge_patch(data: Any, patch: Any) -> Any:
    """`data` changed by a JSON merge patch (RFC 7396): mappings merge, null removes a key, anything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(data) if isinstance(data, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def check_exists(name: str, names: typing.Iterable[str], where: str) -> None:
    """Raise UserError if `name` is not among `names`; the message suggests the nearest valid name."""
    names = list(names)
    if name not in names:
        raise UserError(f"{where}: `{name}` does not exist; {nearest(name, names)}")


def _explain(schema: type[BaseModel], error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(key) for key in problem["loc"] if not FORM.fullmatch(str(key))) or "config"
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown key; {nearest(str(problem['loc'][-1]), _keys_at(schema, problem['loc'][:-1]))}"
    if problem["type"] == "missing":
        return f"{where}: missing; this key has no default"
    value = problem["input"]
    if problem["type"] == "string_type" and isinstance(value, bool | int | float):
        kind = "truth value" if isinstance(value, bool) else "number"
        advice = f"quote it: '{str(value).lower()}'" if isinstance(value, bool) else "quote it as you wrote it, such as '2024_01'"
        return f"{where}: a word is expected, but {str(value).lower()} is a {kind} in YAML; {advice}"
    if problem["type"] == "bool_type" and str(value).lower() in ("yes", "no", "on", "off"):
        return f"{where}: write true or false, not {value}"
    forms = [other["msg"] for other in error.errors() if other["loc"][:-1] == problem["loc"][:-1] and FORM.fullmatch(str(other["loc"][-1]))]
    return f"{where}: {'; or: '.join(forms) or problem['msg']}, got {shortened(repr(value))}"


def _keys_at(schema: Any, loc: tuple) -> list[str]:
    for key in loc:
        schema = _inner(schema.model_fields[key].annotation) if _is_model(schema) and key in schema.model_fields else _inner(schema)
    return list(schema.model_fields) if _is_model(schema) else []


def _is_model(schema: Any) -> bool:
    return inspect.isclass(schema) and issubclass(schema, BaseModel)


def _inner(annotation: Any) -> Any:
    for candidate in (annotation, *typing.get_args(annotation)):
        if _is_model(candidate):
            return candidate
    return annotation


@cache  # a schema takes a millisecond, and a system is built of many
def _schema_of(cls: type, supplied: tuple[str, ...]) -> type[BaseModel]:
    hints = typing.get_type_hints(cls.__init__, include_extras=True)
    fields: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(cls.__init__).parameters.items())[1:]:
        if name not in supplied:
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            fields[name] = (hints.get(name, Any), default)
    return create_model(cls.__name__, __base__=Strict, **fields)
