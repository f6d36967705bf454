"""Typed, strict configuration: YAML plus dotted overrides; a mistake is one clear line with the nearest valid name."""

from __future__ import annotations

import difflib
import inspect
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, create_model, model_validator

from m2asr.errors import UserError
from m2asr.yaml_file import Loader, read_yaml


class Strict(BaseModel):
    """A section of a config: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Component(BaseModel):
    """A section whose `type` names a class; the other keys are that class's own arguments, checked by `construct`.

    A word alone is short for `{type: word}`: `--set weighting=mgda` swaps the method together with its options.
    """

    model_config = ConfigDict(extra="allow", strict=True)
    type: str

    @model_validator(mode="before")
    @classmethod
    def _word_is_type(cls, data: Any) -> Any:
        return {"type": data} if isinstance(data, str) else data

    def options(self) -> dict[str, Any]:
        """The arguments that belong to the class named by `type`."""
        return dict(self.model_extra or {})

    def own(self) -> dict[str, Any]:
        """`type` and the options: what `complete` and `construct` read."""
        return {"type": self.type, **self.options()}


class FbankConfig(Strict):
    """Log mel filterbank features as Kaldi computes them; times in milliseconds, frequencies in Hz."""

    sample_rate: int = 16000
    num_mel_bins: int = 80
    frame_length: float = 25.0
    frame_shift: float = 10.0
    dither: float = 0.0
    low_freq: float = 20.0
    high_freq: float = 0.0
    compress: bool = False
    speed: float = Field(1.0, gt=0)  # at which recordings are played; 0.9 is a tenth slower and lower

    def geometry(self) -> dict[str, Any]:
        """What a frame is made of: the arguments of Fbank."""
        return self.model_dump(exclude={"compress", "speed"})


NUMBER, NUMBERS = "(number)", "(numbers)"  # which of the two a value is checked as; not for the eyes of users


def _or_list(number: Any) -> Any:
    several = Annotated[list[number], Field(min_length=1)]
    kind = Discriminator(lambda value: NUMBERS if isinstance(value, list) else NUMBER)
    return Annotated[Annotated[number, Tag(NUMBER)] | Annotated[several, Tag(NUMBERS)], kind]


# A number, or a list of numbers of which decoding takes the best on the dev sets.
Numbers = _or_list(Annotated[float, Field(allow_inf_nan=False)])
Weights = _or_list(Annotated[float, Field(ge=0, allow_inf_nan=False)])
Shares = _or_list(Annotated[float, Field(ge=0, le=1)])
Words = _or_list(str)  # a word, or a list of them


class LanguageModel(Strict):
    """An n-gram language model in a search, one for each tokenizer, from its training texts unless `texts` or `arpa` name others."""

    unit: Literal["tokens", "words"] = "tokens"  # what is modelled: the tokens of the tokenizer, or words, each scored when it ends
    order: int = Field(6, ge=1, le=10)
    prune: list[Annotated[int, Field(ge=0)]] = [0]  # n-grams that occur at most so often are left out, per order; the last for all higher
    texts: dict[str, list[str]] = {}  # by tokenizer: data directories, text sets, or files with a sentence per line, also .gz
    every: int = Field(1, ge=1)  # read each n-th line only
    normalize: str | None = None  # language by whose rules the lines of `texts` are normalized first, as transcripts are
    arpa: dict[str, str] = {}  # by tokenizer: an ARPA file of a model that is there already, also .gz
    weight: Weights = 0.5  # of its natural log-probability

    @model_validator(mode="after")
    def _prunes_more_of_higher_orders(self) -> LanguageModel:
        if self.prune[:1] != [0] or self.prune != sorted(self.prune) or len(self.prune) > self.order:
            raise UserError(f"lm.prune: {self.prune}: the counts begin with 0, do not fall, and are at most order ({self.order}) many")
        return self


class HotWords(Strict):
    """Words and phrases that a search is to prefer; they are matched from the beginning of a word to the end of one."""

    phrases: list[str] = []
    file: str | None = None  # further ones, one per line
    bonus: Weights = 1.0  # per token of a phrase

    @model_validator(mode="after")
    def _names_some(self) -> HotWords:
        if not self.phrases and self.file is None:
            raise UserError("hotwords: no phrases and no file; name some, or leave the section out")
        return self


class DecodeConfig(Strict):
    """Search settings; `name` becomes the folder decode_<name>.

    Every target is read once: by its CTC objective under `greedy` and `prefix_beam`, by its attention objective under `attention`, `joint`
    and `rescoring`, and by the only one it has otherwise. `joint` and `rescoring` want both for every attention objective. Where numbers
    may be lists, each combination is tried on the dev sets, and the best one decodes.
    """

    name: str = Field("greedy", pattern=r"^[A-Za-z0-9._=-]+$")
    method: Literal["greedy", "prefix_beam", "attention", "joint", "rescoring"] = "greedy"
    beam: int = Field(10, ge=1)
    token_prune: int = Field(20, ge=1)  # prefix beam: tokens tried per frame
    ctc_weight: Shares = 0.3  # joint and rescoring: of the CTC score, beside 1 - ctc_weight of the decoder's
    length_penalty: Weights = 0.0  # a decoder's scores are divided by (tokens + 1) ** length_penalty; more favours longer texts
    max_ratio: float = Field(1.0, gt=0)  # a decoder writes at most this many tokens per encoder state
    language: Literal["oracle", "predicted"] = "oracle"  # whose heads read an utterance: its own language's, or what langid takes it for
    batch_seconds: float = Field(120.0, gt=0)
    lm: LanguageModel | None = None
    bonus: Numbers = 0.0  # added to the score for every token
    hotwords: HotWords | None = None

    @model_validator(mode="after")
    def _greedy_takes_no_other_scores(self) -> DecodeConfig:
        if self.method == "greedy" and (self.lm or self.hotwords or self.bonus):
            raise UserError("method greedy takes the best label of every state: lm, hotwords and bonus want another, such as prefix_beam")
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
    """Build `schema` from plain data. Raises UserError with one line for the first thing that is wrong."""
    try:
        return schema.model_validate(data)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except ValidationError as error:
        raise UserError(f"{where}: {_explain(schema, error)}") from None


def complete(family: Mapping[str, type], where: str, component: Mapping[str, Any], given: tuple[str, ...] = ()) -> dict[str, Any]:
    """Check the options of a component against the constructor that its `type` names, and fill in the defaults.

    `given` names the constructor arguments that the caller supplies, so the config may not. Raises UserError.
    """
    return {"type": component.get("type"), **_options(family, where, component, given).model_dump(mode="json")}


def construct(family: Mapping[str, type], where: str, component: Mapping[str, Any], **given: Any) -> Any:
    """Build the class that `component["type"]` names from the component's options and the `given` arguments."""
    options = _options(family, where, component, tuple(given))
    kind = family[component["type"]]
    wanted = inspect.signature(kind.__init__).parameters
    values = {name: getattr(options, name) for name in type(options).model_fields}
    return kind(**values, **{key: value for key, value in given.items() if key in wanted})


def _options(family: Mapping[str, type], where: str, component: Mapping[str, Any], given: tuple[str, ...]) -> BaseModel:
    if "type" not in component:
        raise UserError(f"{where}.type: missing; valid: {', '.join(family)}")
    known(component["type"], family, f"{where}.type")
    schema = _schema_of(family[component["type"]], given)
    return check_config(schema, {key: value for key, value in component.items() if key != "type"}, where)


def dump_config(config: BaseModel) -> str:
    """The resolved config as YAML text."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


def nearest(name: str, names: typing.Iterable[str]) -> str:
    """A hint for a name that does not exist: the nearest valid one, or all of them."""
    names = [str(other) for other in names]
    near = difflib.get_close_matches(str(name), names, n=1)
    return f"did you mean `{near[0]}`?" if near else "valid: " + (", ".join(names) or "none")


def _override(data: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise UserError(f"override `{override}`: write it as key.key=value", exit_code=2)
    *parents, last = key.split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
        if not isinstance(data, dict):
            raise UserError(f"override `{override}`: `{parent}` is a value, not a section", exit_code=2)
    try:
        data[last] = yaml.load(value, Loader=Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise UserError(f"override `{override}`: the value is not valid YAML: {getattr(error, 'problem', error)}", exit_code=2) from None


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


def known(name: str, names: typing.Iterable[str], where: str) -> None:
    """Raises UserError for a name that does not exist, with the nearest that does."""
    names = list(names)
    if name not in names:
        raise UserError(f"{where}: `{name}` does not exist; {nearest(name, names)}")


def _explain(schema: type[BaseModel], error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in (NUMBER, NUMBERS)) or "config"
    if first["type"] == "extra_forbidden":
        return f"{where}: unknown key; {nearest(str(first['loc'][-1]), _keys_at(schema, first['loc'][:-1]))}"
    if first["type"] == "missing":
        return f"{where}: missing; this key has no default"
    return f"{where}: {first['msg']}, got {first['input']!r}"


def _keys_at(schema: Any, loc: tuple) -> list[str]:
    for part in loc:
        schema = _inner(schema.model_fields[part].annotation) if _is_model(schema) and part in schema.model_fields else _inner(schema)
    return list(schema.model_fields) if _is_model(schema) else []


def _is_model(schema: Any) -> bool:
    return inspect.isclass(schema) and issubclass(schema, BaseModel)


def _inner(annotation: Any) -> Any:
    for part in (annotation, *typing.get_args(annotation)):
        if _is_model(part):
            return part
    return annotation


def _schema_of(cls: type, given: tuple[str, ...]) -> type[BaseModel]:
    hints = typing.get_type_hints(cls.__init__)
    fields: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(cls.__init__).parameters.items())[1:]:
        if name not in given:
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            fields[name] = (hints.get(name, Any), default)
    return create_model(cls.__name__, __base__=Strict, **fields)
