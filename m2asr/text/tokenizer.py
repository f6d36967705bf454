"""Tokenizers: turn text into token ids and back, with characters, words, sentencepiece units, or sentencepiece units of code words."""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

import yaml

from m2asr.errors import UserError, shortened
from m2asr.files import open_atomic, open_input, read_text, recover, replace_dir
from m2asr.ownership import check_replaceable
from m2asr.text.code_words import CodeWords
from m2asr.yaml_file import read_yaml

Kind = Literal["char", "words", "codes", "unigram", "bpe"]

BLANK, UNK = 0, 1
SPACE = "▁"  # how a space is written among the tokens, as in sentencepiece
BYTES = re.compile(r"(?:<0x[0-9A-F]{2}>)+")  # how sentencepiece writes bytes
UNKNOWN = "⁇"  # how the unknown token is written
SPECIAL_FIRST, SPECIAL_LAST = ["<blank>", "<unk>"], ["<sos/eos>"]


class Tokenizer:
    """Turns text into ids and back; id 0 is the blank, 1 the unknown token, the last id starts and ends sentences."""

    def __init__(self, kind: str, tokens: list[str], model: bytes | None = None) -> None:
        self.kind, self.tokens = kind, tokens
        self.ids = {token: number for number, token in enumerate(tokens)}
        self.digest = hashlib.blake2b(repr((kind, tokens, model)).encode(), digest_size=12).hexdigest()  # identifies its ids
        self._codes = CodeWords(_single_words(tokens)) if kind == "codes" else None
        self._pieces = None
        if model is not None:
            import sentencepiece

            self._pieces = sentencepiece.SentencePieceProcessor(model_proto=model)

    @property
    def size(self) -> int:
        """The number of tokens, with blank, unknown and sos/eos."""
        return len(self.tokens)

    @property
    def eos(self) -> int:
        """The id that starts and ends sentences."""
        return self.size - 1

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; characters, or words, that are no tokens become the unknown token."""
        if self.kind == "words":
            return [self.ids.get(SPACE + word, UNK) for word in text.split()]
        if self._codes:
            pieces = self._pieces.encode(self._codes.write(text), out_type=str)
            return [self.ids.get(_token_of(self._codes, piece), UNK) for piece in pieces]
        text = " ".join(text.split())
        pieces = self._pieces.encode(text, out_type=str) if self._pieces else text.replace(" ", SPACE)
        return [self.ids.get(piece, UNK) for piece in pieces]

    def piece(self, number: int) -> str:
        """How a token is written; with SPACE before it where it begins a word."""
        if number == UNK:
            return SPACE + UNKNOWN if self.kind in ("words", "codes") else UNKNOWN
        return self.tokens[number]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids; blank and sos/eos are left out, the unknown token is ⁇."""
        pieces = [self.piece(number) for number in ids if number not in (BLANK, self.eos)]
        return " ".join(read_bytes("".join(pieces)).replace(SPACE, " ").split())

    @classmethod
    def load(cls, folder: str | Path) -> Tokenizer:
        """Read a tokenizer that `train_tokenizer` wrote. Raises UserError if a file is missing or damaged."""
        folder = recover(folder)
        try:
            kind = read_yaml(folder / "tokenizer.yaml")["type"]
            if kind not in get_args(Kind):
                raise ValueError(f"its type is {kind}")
            lines = read_text(folder / "tokens.txt").splitlines()
            model = _contents(folder / "sentencepiece.model") if kind in ("unigram", "bpe", "codes") else None
            tokens = [line.rpartition(" ")[0] for line in lines]
            if [line.rpartition(" ")[2] for line in lines] != [str(number) for number in range(len(lines))]:
                raise ValueError("the ids are not 0, 1, 2 ...")
            return cls(kind, tokens, model)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, UserError) as error:
            raise UserError(f"{folder}: not a readable tokenizer ({error}); run stage 2 (tokens) again with --force") from None


def _contents(path: Path) -> bytes:
    with open_input(path) as file:
        return file.read()


def read_bytes(text: str) -> str:
    """A text of pieces with what its pieces of bytes, such as <0xC3>, write together; bytes that write no character are �."""
    return BYTES.sub(lambda run: bytes.fromhex(run[0].replace("<0x", "").replace(">", "")).decode(errors="replace"), text)


def train_tokenizer(
    kind: Kind, size: int | None, texts: Iterable[str], folder: str | Path, coverage: float = 1.0, byte_fallback: bool = False
) -> Tokenizer:
    """Train a tokenizer on texts and write it to `folder` in one step; the same texts give the same tokenizer.

    `size` counts all tokens of words, unigram, bpe and codes; characters ignore it, and without it all words are tokens, such as phones.
    `codes` are tokens of one or more words each, such as the numbers of clusters, by BPE over words instead of letters (Wu et al. 2022,
    Wav2Seq). Of unigram and bpe, `coverage` is the share of all letters that the most frequent characters, which are tokens, must make up;
    with `byte_fallback` 256 tokens of bytes write the other characters, which otherwise are unknown. Raises UserError if there is too
    little text, and if the size is too small or too large.
    """
    folder = Path(folder)
    check_replaceable(folder, "a tokenizer")
    texts = [text for text in (" ".join(text.split()) for text in texts) if text]  # one kind of space, no line breaks
    if not texts:
        raise UserError(f"{folder.name}: there is no text to train a tokenizer on; correct tokens.{folder.name}.sets or .text")
    model = None
    if kind == "char":
        pieces = sorted({letter for text in texts for letter in text.replace(" ", SPACE)})
    elif kind == "words":
        pieces = _frequent_words(size, texts, folder.name)
    elif kind == "codes":
        model, pieces = _train_codes(size, texts, folder.name)
    else:
        model, pieces = _train_pieces(kind, size, texts, folder.name, coverage, byte_fallback)
    tokens = [*SPECIAL_FIRST, *pieces, *SPECIAL_LAST]
    with replace_dir(folder, "a tokenizer") as out:
        if model is not None:
            (out / "sentencepiece.model").write_bytes(model)
        with open_atomic(out / "tokens.txt") as file:
            file.writelines(f"{token} {number}\n" for number, token in enumerate(tokens))
        with open_atomic(out / "tokenizer.yaml") as file:
            yaml.safe_dump({"type": kind, "size": len(tokens)}, file)
    return Tokenizer.load(folder)


def _frequent_words(size: int | None, texts: list[str], name: str) -> list[str]:
    """The most frequent words, or all, sorted: of equally frequent ones the first. SPACE before them makes tokens of spaces unnecessary."""
    counts = Counter(word for text in texts for word in text.split())
    special = len(SPECIAL_FIRST) + len(SPECIAL_LAST)
    if size is not None and size > len(counts) + special:
        raise UserError(f"tokens.{name}.size: no {size} words in {len(texts)} texts: at most {len(counts) + special} are possible")
    words = sorted(counts, key=lambda word: (-counts[word], word))
    return sorted(SPACE + word for word in (words if size is None else words[: size - special]))


def _train_codes(size: int | None, texts: list[str], name: str) -> tuple[bytes, list[str]]:
    """BPE over words: every word is a token, and frequent neighbours are a token together, written with SPACE before each of them."""
    words = {word for text in texts for word in text.split()}
    if size is not None and size < (fewest := len(words) + len(SPECIAL_FIRST) + len(SPECIAL_LAST)):
        raise UserError(f"tokens.{name}.size: {size} tokens do not hold all {len(words)} code words; give at least {fewest}")
    codes = CodeWords(words)
    options = {"add_dummy_prefix": False, "split_by_unicode_script": False, "split_by_number": False}
    model, pieces = _train_pieces("bpe", size, [codes.write(text) for text in texts], name, **options)
    return model, [_token_of(codes, piece) for piece in pieces]


def _token_of(codes: CodeWords, piece: str) -> str:
    return "".join(SPACE + word for word in codes.read(piece))


def _single_words(tokens: list[str]) -> list[str]:
    """The words of those tokens that are a single word."""
    return [token[1:] for token in tokens if token.startswith(SPACE) and SPACE not in token[1:]]


def _train_pieces(
    kind: str, size: int | None, texts: list[str], name: str, coverage: float = 1.0, byte_fallback: bool = False, **options: bool
) -> tuple[bytes, list[str]]:
    """The model and the pieces of sentencepiece, with further `options` of it besides those for all texts."""
    import sentencepiece

    if size is None:
        raise UserError(f"tokens.{name}.size: missing; {kind} needs the number of tokens, e.g. size: 1000")
    special = len(SPECIAL_FIRST) + len(SPECIAL_LAST)
    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=written,
            model_type=kind,
            vocab_size=size - special + 1,  # sentencepiece counts its own <unk>
            character_coverage=coverage,
            byte_fallback=byte_fallback,
            max_sentence_length=1 << 20,  # bytes; longer texts would be left out without a message
            normalization_rule_name="identity",
            bos_id=-1,
            eos_id=-1,
            num_threads=1,
            minloglevel=2,
            **options,
        )
    except RuntimeError as error:
        reason = shortened(str(error).split("] ")[-1].strip() or str(error))
        most, least = re.search(r"a value <= (\d+)", reason), re.search(r"\d+ vs (\d+)", reason)  # both of sentencepiece's own count
        if least:
            alphabet = f"{int(least[1]) + special - 1} are the least, since every character{' and byte' * byte_fallback} is a token"
            hint = f"{alphabet}; raise size, or lower tokens.{name}.coverage ({coverage:g}), so that rare characters are none"
        else:
            hint = f"at most {int(most[1]) + special - 1} are possible" if most else f"{reason}; choose another size"
        raise UserError(f"tokens.{name}.size: no {size} {kind} tokens in {len(texts)} texts: {hint}") from None
    model = written.getvalue()
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    return model, [pieces.id_to_piece(number) for number in range(pieces.get_piece_size()) if not pieces.is_unknown(number)]
