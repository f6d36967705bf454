"""The language models and hot words that a decode config names: stage 2 makes them, searches take them from here."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from m2asr.config import DecodeConfig, LanguageModel
from m2asr.decode.fusion import Fusion
from m2asr.decode.hotwords import HotWords, write
from m2asr.decode.prefix_table import PrefixTable
from m2asr.decode.token_lm import TokenNgram
from m2asr.decode.word_lm import WordNgram
from m2asr.errors import UserError
from m2asr.lm.build import BINARY, convert, estimate_model, write_both
from m2asr.lm.ngram import NgramModel
from m2asr.lm.report import estimated_lines, table_lines
from m2asr.lm.sources import Sources
from m2asr.text.tokenizer import UNK, Tokenizer
from m2asr.train_config import TrainConfig

NAMED = 5  # hot words named in a warning


def model_folder(exp: Path, search: str, tokens: str) -> Path:
    """Where the language model of a search over a tokenizer lies."""
    return exp / "lm" / search / tokens


def check_names(searches: Sequence[DecodeConfig]) -> None:
    """Raise UserError where two searches have one name: they would write the same folders."""
    names = [search.name for search in searches]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"two searches have the name {twice[0]}; give each config a name of its own")


def make_models(search: DecodeConfig, config: TrainConfig, data: Path, exp: Path) -> Iterable[str]:
    """Make the language model of a search for every tokenizer that its heads write with; yields lines that tell of them."""
    if search.lm is None:
        yield f"{search.name}: no language model"
        return
    names = written(config)
    for option in ("texts", "arpa"):
        if unknown := sorted(getattr(search.lm, option).keys() - set(names)):
            there = f"no objective writes with such a tokenizer; there is {', '.join(names)}"
            raise UserError(f"search {search.name}: lm.{option}.{unknown[0]}: {there}")
    for name in names:
        folder = model_folder(exp, search.name, name)
        yield f"{search.name}: {name}"
        if name in search.lm.arpa:
            table, paths = convert(Path(search.lm.arpa[name]), folder)
            yield from (f"  {line}" for line in table_lines(table))
        else:
            tokenizer = Tokenizer.load(exp / "tokens" / name) if search.lm.unit == "tokens" else None
            sources = _sources(search.lm, config, name, data, tokenizer)
            estimated = estimate_model(sources, search.lm.order, _cutoffs(search.lm), 0.0, folder)
            paths = write_both(folder, estimated.table, gzip=True)
            yield from (f"  {line}" for line in estimated_lines(estimated, sources, search.lm.order))
        yield f"  wrote {', '.join(map(str, paths))}"


def written(config: TrainConfig) -> list[str]:
    """The tokenizers that objectives which search reads write texts with."""
    writing = [one for one in config.objectives.values() if one.type in ("ctc", "attention") and one.decode]
    return list(dict.fromkeys(one.options()["tokens"] for one in writing))


def _sources(lm: LanguageModel, config: TrainConfig, name: str, data: Path, tokenizer: Tokenizer | None) -> Sources:
    if name in lm.texts:
        return Sources([Path(path) for path in lm.texts[name]], "text", tokenizer, lm.every, lm.normalize)
    tokens = config.tokens[name]
    return Sources([data / one for one in tokens.sets], tokens.text, tokenizer, lm.every)


def _cutoffs(lm: LanguageModel) -> list[int]:
    return (lm.prune + lm.prune[-1:] * lm.order)[: lm.order]


class TextModels:
    """The language model and the hot words of a search, for each tokenizer; what was once scored is kept for all that follows.

    `unspaced` names the tokenizers of languages that write no spaces. Raises UserError for what is missing or does not fit.
    """

    def __init__(
        self, search: DecodeConfig, exp: Path, tokenizers: Mapping[str, Tokenizer], unspaced: Iterable[str], device: torch.device | str
    ) -> None:
        self.models: dict[str, PrefixTable] = {}
        self.hotwords: dict[str, PrefixTable] = {}
        unspaced = set(unspaced)
        phrases = _writable(search, tokenizers) if search.hotwords else {}
        for name, tokenizer in tokenizers.items():
            if search.lm:
                path = model_folder(exp, search.name, name) / BINARY
                if not path.is_file():
                    raise UserError(f"{path}: no language model for the search {search.name}; run stage 2 (lm) first")
                kind = TokenNgram if search.lm.unit == "tokens" else WordNgram
                self.models[name] = PrefixTable(kind(NgramModel.load(path), tokenizer, str(path)), device)
            if phrases.get(name):
                self.hotwords[name] = PrefixTable(HotWords(phrases[name], tokenizer, name not in unspaced), device)

    def fusion(self, settings: DecodeConfig, tokens: str) -> Fusion:
        """What the models add to a search that writes with a tokenizer; the settings hold no lists."""
        parts = []
        if tokens in self.models:
            parts.append((settings.lm.weight, self.models[tokens]))
        if tokens in self.hotwords:
            parts.append((settings.hotwords.bonus, self.hotwords[tokens]))
        return Fusion(parts, settings.bonus)


def _writable(search: DecodeConfig, tokenizers: Mapping[str, Tokenizer]) -> dict[str, list[str]]:
    """The hot words that each tokenizer can write; warns of the others. Raises UserError for one that none can write."""
    phrases = read_phrases(search)
    writable = {name: [phrase for phrase in phrases if UNK not in one.encode(phrase)] for name, one in tokenizers.items()}
    for phrase in phrases:
        if not any(phrase in known for known in writable.values()):
            for tokenizer in tokenizers.values():
                write(phrase, tokenizer)  # tells what is wrong with it
    for name, known in writable.items():
        if others := [phrase for phrase in phrases if phrase not in known]:
            named = ", ".join(others[:NAMED]) + (", ..." if len(others) > NAMED else "")
            told = f"{len(others)} of {len(phrases)} hot words have letters that the tokenizer {name} does not know ({named})"
            print(f"warning: search {search.name}: {told}; they count for the others only", file=sys.stderr)
    return writable


def read_phrases(search: DecodeConfig) -> list[str]:
    """The hot words of a search. Raises UserError where their file cannot be read."""
    phrases = list(search.hotwords.phrases)
    if search.hotwords.file:
        try:
            phrases += Path(search.hotwords.file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            problem = f"hotwords.file: {search.hotwords.file}: cannot be read ({error})"
            raise UserError(f"search {search.name}: {problem}; name a text file with a phrase per line") from None
    return list(dict.fromkeys(" ".join(phrase.split()) for phrase in phrases if phrase.strip()))
