"""The search settings of each reader: stage 5 tunes them on the dev sets and saves them; later commands load them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
import yaml

from m2asr.config import DecodeConfig, check_config
from m2asr.decode.recognize import SearchSetup
from m2asr.decode.search import Reader
from m2asr.decode.text_models import TextModels
from m2asr.decode.trained import Trained
from m2asr.decode.tuning import open_numbers, tune
from m2asr.errors import UserError
from m2asr.files import open_atomic
from m2asr.names import check_option
from m2asr.text.language import language_of
from m2asr.text.tokenizer import Tokenizer
from m2asr.train_config import TrainConfig
from m2asr.yaml_file import read_yaml

SAVED = "search.yaml"  # in decode_<name>: the settings of each reader, without lists


def tuned_setups(trained: Trained, search: DecodeConfig, readers: Iterable[Reader], models: TextModels) -> dict[Reader, SearchSetup]:
    """Tune the open numbers of a search for each reader on its dev sets, and save the settings.

    Saved settings of further readers stay if they belong to the same search and model; a damaged file is told and written anew.
    """
    settings = {reader: tune(trained, search, reader, models) if open_numbers(search) else search for reader in readers}
    path, options = trained.exp / f"decode_{search.name}" / SAVED, search.model_dump(mode="json")
    named = {reader.name: tuned.model_dump(mode="json") for reader, tuned in settings.items()}
    if path.is_file() and path.stat().st_mtime > (trained.exp / "model.pt").stat().st_mtime:
        try:
            saved = _read(path)
            named = {**saved["readers"], **named} if saved["search"] == options else named
        except UserError:
            print(f"warning: {path}: damaged; it is written anew and holds only what is decoded now", file=sys.stderr)
    with open_atomic(path) as file:
        yaml.safe_dump({"search": options, "readers": named}, file, sort_keys=False, allow_unicode=True, width=120)
    return {reader: SearchSetup(tuned, models.fusion(tuned, reader.tokens)) for reader, tuned in settings.items()}


def saved_search(exp: Path, name: str) -> tuple[DecodeConfig, dict[str, DecodeConfig]]:
    """A search that stage 5 decoded with, and its best settings for each reader. Raises UserError if there is no such search."""
    check_option("--search", name)
    path = exp / f"decode_{name}" / SAVED
    if not path.is_file():
        names = ", ".join(sorted(folder.parent.name.removeprefix("decode_") for folder in exp.glob(f"decode_*/{SAVED}")))
        raise UserError(f"{path}: no such search; {f'name one of {names}' if names else 'run stage 5 (decode) first'}")
    data = _read(path)
    settings = {reader: check_config(DecodeConfig, options, f"{path}: {reader}") for reader, options in data["readers"].items()}
    return check_config(DecodeConfig, data["search"], str(path)), settings


def best_saved(exp: Path) -> str | None:
    """The name of the last search with a language model that stage 5 decoded with, or None."""
    paths = sorted(exp.glob(f"decode_*/{SAVED}"), key=lambda path: path.stat().st_mtime)
    names = [path.parent.name.removeprefix("decode_") for path in paths if _read(path)["search"].get("lm")]
    return names[-1] if names else None


def _read(path: Path) -> dict[str, dict]:
    """The contents of a search.yaml; raises UserError if it lacks a part."""
    data = read_yaml(path)
    if not isinstance(data.get("readers"), dict) or not isinstance(data.get("search"), dict):
        raise UserError(f"{path}: damaged; run stage 5 (decode) again with --force")
    return data


def text_models(
    search: DecodeConfig,
    exp: Path,
    config: TrainConfig,
    tokenizers: Mapping[str, Tokenizer],
    readers: Iterable[Reader],
    device: torch.device | str,
) -> TextModels:
    """Load the language models and hot words of a search for the tokenizers of these readers."""
    unspaced = {reader.tokens for reader in readers if (lang := _language(config, reader)) and language_of(lang).unspaced}
    return TextModels(search, exp, {reader.tokens: tokenizers[reader.tokens] for reader in readers}, unspaced, device)


def _language(config: TrainConfig, reader: Reader) -> str | None:
    """The language that a reader writes, or None if it writes several."""
    return config.streams[reader.stream].lang if reader.text == "text" else reader.text.removeprefix("text.")
