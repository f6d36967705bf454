"""The language models and hot words of a decode config: stage 2 makes the models, searches load them from here."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from m2asr.config import DecodeConfig, LanguageModel
from m2asr.decode.fusion import Fusion
from m2asr.decode.hotwords import HotWords, phrase_tokens
from m2asr.decode.prefix_table import PrefixTable
from m2asr.decode.token_lm import TokenNgram
from m2asr.decode.word_lm import WordNgram
from m2asr.errors import UserError
from m2asr.files import read_text
from m2asr.lm.build import BINARY, convert, estimate_model, write_both
from m2asr.lm.ngram import NgramModel
from m2asr.lm.report import estimated_lines, table_lines
from m2asr.lm.sources import Sources
from m2asr.text.tokenizer import UNK, Tokenizer
from m2asr.train_checks import WRITING
from m2asr.train_config import TrainConfig

MAX_NAMED = 5  # hot words that a warning names


def model_folder(exp: Path, search: str, tokens: str) -> Path:
    """The folder of the language model of a search and a tokenizer."""
    return exp / "lm" / search / tokens


def check_names(searches: Sequence[DecodeConfig]) -> None:
    """Raise UserError if two searches have the same name, as they would write into the same folders."""
    names = [search.name for search in searches]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"two searches have the name {twice[0]}; give each config a name of its own")


def make_models(search: DecodeConfig, config: TrainConfig, data: Path, exp: Path) -> Iterable[str]:
    """Make the language model of a search for every tokenizer that its heads write with; yields lines that describe the models.

    Raises UserError if `lm` names a tokenizer that no objective writes with, or if a model cannot be made.
    """
    if search.lm is None:
        yield f"{search.name}: no language model"
        return
    names = written_tokenizers(config)
    for option in ("texts", "arpa"):
        if unknown := sorted(getattr(search.lm, option).keys() - set(names)):
            problem = f"no objective writes with this tokenizer; there are {', '.join(names)}"
            raise UserError(f"search {search.name}: lm.{option}.{unknown[0]}: {problem}")
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


def written_tokenizers(config: TrainConfig) -> list[str]:
    """The tokenizers of the objectives that search reads."""
    writing = [objective for objective in config.objectives.values() if objective.type in WRITING and objective.decode]
    return list(dict.fromkeys(objective.options()["tokens"] for objective in writing))


def _sources(lm: LanguageModel, config: TrainConfig, name: str, data: Path, tokenizer: Tokenizer | None) -> Sources:
    if name in lm.texts:
        return Sources([Path(path) for path in lm.texts[name]], "text", tokenizer, lm.every, lm.normalize)
    tokens = config.tokens[name]
    return Sources([data / set_name for set_name in tokens.sets], tokens.text, tokenizer, lm.every)


def _cutoffs(lm: LanguageModel) -> list[int]:
    return (lm.prune + lm.prune[-1:] * lm.order)[: lm.order]


class TextModels:
    """The language model and the hot words of a search, for each tokenizer; their tables of scores serve all utterances.

    `unspaced` names the tokenizers of languages that write no spaces. Raises UserError if a model is missing or does not fit a tokenizer.
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
        """The fusion of a search that writes with the tokenizer `tokens`; the settings hold no lists."""
        models = []
        if tokens in self.models:
            models.append((settings.lm.weight, self.models[tokens]))
        if tokens in self.hotwords:
            models.append((settings.hotwords.bonus, self.hotwords[tokens]))
        return Fusion(models, settings.bonus)


def _writable(search: DecodeConfig, tokenizers: Mapping[str, Tokenizer]) -> dict[str, list[str]]:
    """The hot words that each tokenizer can write; warns of the remaining ones. Raises UserError for a word that none can write."""
    phrases = read_phrases(search)
    writable = {name: [phrase for phrase in phrases if UNK not in tokenizer.encode(phrase)] for name, tokenizer in tokenizers.items()}
    for phrase in phrases:
        if not any(phrase in phrases_of for phrases_of in writable.values()):
            for tokenizer in tokenizers.values():
                phrase_tokens(phrase, tokenizer)  # raises an error that names the letters
    for name, phrases_of in writable.items():
        if unwritable := [phrase for phrase in phrases if phrase not in phrases_of]:
            examples = ", ".join(unwritable[:MAX_NAMED]) + (", ..." if len(unwritable) > MAX_NAMED else "")
            message = f"{len(unwritable)} of {len(phrases)} hot words have letters that the tokenizer {name} does not know ({examples})"
            print(f"warning: search {search.name}: {message}; they count for the other tokenizers only", file=sys.stderr)
    return writable


def read_phrases(search: DecodeConfig) -> list[str]:
    """The hot words of a search. Raises UserError if their file cannot be read."""
    phrases = list(search.hotwords.phrases)
    if search.hotwords.file:
        try:
            phrases += read_text(search.hotwords.file).splitlines()
        except UserError as error:
            raise UserError(f"search {search.name}: hotwords.file: {error}; name a text file with a phrase per line") from None
    return list(dict.fromkeys(" ".join(phrase.split()) for phrase in phrases if phrase.strip()))
