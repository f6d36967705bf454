"""How each head of a run searches: tuned on the dev sets by stage 5, kept beside its hypotheses, and taken up by later commands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
import yaml

from m2asr.config import DecodeConfig, check_config
from m2asr.decode.recognize import Reading
from m2asr.decode.search import Reader
from m2asr.decode.text_models import TextModels
from m2asr.decode.trained import Trained
from m2asr.decode.tuning import lists, tune
from m2asr.errors import UserError
from m2asr.files import open_atomic
from m2asr.text.normalize import UNSPACED
from m2asr.text.tokenizer import Tokenizer
from m2asr.train_config import TrainConfig
from m2asr.yaml_file import read_yaml

SAVED = "search.yaml"  # in decode_<name>: the settings of each reader, without lists


def tuned_readings(trained: Trained, search: DecodeConfig, used: Iterable[Reader], models: TextModels) -> dict[Reader, Reading]:
    """How each reader searches, by the numbers that are best for it on its dev sets where the search leaves some open; keeps them.

    What the same search found for other readers of the same model stays too.
    """
    settings = {reader: tune(trained, search, reader, models) if lists(search) else search for reader in used}
    path, given = trained.exp / f"decode_{search.name}" / SAVED, search.model_dump(mode="json")
    named = {reader.name: chosen.model_dump(mode="json") for reader, chosen in settings.items()}
    if path.is_file() and path.stat().st_mtime > (trained.exp / "model.pt").stat().st_mtime and (old := read_yaml(path))["search"] == given:
        named = {**old["readers"], **named}
    with open_atomic(path) as file:
        yaml.safe_dump({"search": given, "readers": named}, file, sort_keys=False, allow_unicode=True, width=120)
    return {reader: Reading(chosen, models.fusion(chosen, reader.tokens)) for reader, chosen in settings.items()}


def saved_search(exp: Path, name: str) -> tuple[DecodeConfig, dict[str, DecodeConfig]]:
    """A search that stage 5 decoded with, and the settings that it found best for each reader. Raises UserError where it did not."""
    path = exp / f"decode_{name}" / SAVED
    if not path.is_file():
        there = ", ".join(sorted(folder.parent.name.removeprefix("decode_") for folder in exp.glob(f"decode_*/{SAVED}")))
        raise UserError(f"{path}: no such search; {f'there is {there}' if there else 'run stage 5 (decode) first'}")
    data = read_yaml(path)
    settings = {reader: check_config(DecodeConfig, given, f"{path}: {reader}") for reader, given in data["readers"].items()}
    return check_config(DecodeConfig, data["search"], str(path)), settings


def best_saved(exp: Path) -> str | None:
    """The name of the last search with a language model that stage 5 decoded with, None without one."""
    paths = sorted(exp.glob(f"decode_*/{SAVED}"), key=lambda path: path.stat().st_mtime)
    names = [path.parent.name.removeprefix("decode_") for path in paths if read_yaml(path)["search"].get("lm")]
    return names[-1] if names else None


def text_models(
    search: DecodeConfig,
    exp: Path,
    config: TrainConfig,
    tokenizers: Mapping[str, Tokenizer],
    used: Iterable[Reader],
    device: torch.device | str,
) -> TextModels:
    """The language models and hot words of a search for the tokenizers of these readers."""
    unspaced = {reader.tokens for reader in used if _language(config, reader) in UNSPACED}
    return TextModels(search, exp, {reader.tokens: tokenizers[reader.tokens] for reader in used}, unspaced, device)


def _language(config: TrainConfig, reader: Reader) -> str | None:
    """The language that a reader writes, None for several."""
    return config.streams[reader.stream].lang if reader.text == "text" else reader.text.removeprefix("text.")
