"""The utterances of an error page as HTML: a player, and every answer aligned with its reference."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from html import escape

from rapidfuzz.distance import Levenshtein

from m2asr.score.decoded import Decoded
from m2asr.score.error_rate import Errors
from m2asr.text.language import language_of
from m2asr.text.scripts import is_unspaced


def card(utt: str, name: str, seconds: float | None, source: str, answers: list[tuple[Decoded, int]]) -> Iterator[str]:
    """The card of an utterance of the set `name`; `source` is the address of its audio, `answers` are decoded folders with its row."""
    length = "" if seconds is None else f" · {seconds:.1f} s"
    player = '<span class="none">no player</span>'
    if source:  # thousands of players make a browser slow, so a script makes a player from this text when it comes into view
        player = f'<noscript><audio controls preload="none" src="{escape(source)}"></audio></noscript>'
    yield f'<article data-set="{escape(name)}" data-seconds="{seconds or 0:.2f}"><header><h3>{escape(utt)}</h3>'
    yield f"<p>{escape(name)}{length}</p>{player}</header>"
    for decoded, row in answers:
        yield from _recognition(decoded, row) if decoded.errors else _translation(decoded, row)
    yield "</article>\n"


def language(lang: str) -> str:
    """The HTML attributes of a text in this language."""
    return f'lang="{escape(lang)}"' + (' dir="rtl"' if language_of(lang).right_to_left else "")


def _opening(decoded: Decoded, figures: str) -> str:
    return f'<section data-target="{escape(decoded.objective)}" data-search="{escape(decoded.search)}" {figures}>'


def _title(decoded: Decoded) -> str:
    return f"<b>{escape(decoded.objective)}</b> {escape(decoded.search)}"


def _recognition(decoded: Decoded, row: int) -> Iterator[str]:
    substituted, deleted, inserted, tokens = decoded.errors.counts[row].tolist()
    wrong, lang = substituted + deleted + inserted, decoded.langs[row]
    kinds = {is_unspaced(token) for token in decoded.errors.references[row]}
    unit = "token" if len(kinds) > 1 else "character" if kinds == {True} else "word"
    summary = f"{wrong or 'no'} error{'' if wrong == 1 else 's'} in {tokens} {unit}{'' if tokens == 1 else 's'}"
    if wrong:
        kinds = ((substituted, "sub"), (deleted, "del"), (inserted, "ins"))
        share = f" · {100 * wrong / tokens:.0f} %" if tokens else ""
        summary += f"{share} · " + ", ".join(f"{count} {kind}" for count, kind in kinds if count)
    yield _opening(decoded, f'data-errors="{wrong}" data-tokens="{tokens}"')
    yield f'<p class="told">{_title(decoded)} · {summary}</p>'
    yield f'<p class="aligned" {language(lang)}>{aligned(decoded.errors, row)}</p></section>'


def _translation(decoded: Decoded, row: int) -> Iterator[str]:
    attributes = language(decoded.lang)
    yield _opening(decoded, f'data-chrf="{decoded.chrf[row]:.1f}"')
    yield f'<p class="told">{_title(decoded)} · chrF {decoded.chrf[row]:.1f}</p><dl>'
    for name, text in (("reference", decoded.references[row]), ("hypothesis", decoded.hypotheses[row])):
        yield f'<div><dt>{name}</dt><dd class="{name}" {attributes}>{escape(text)}</dd></div>'
    yield "</dl></section>"


def aligned(errors: Errors, row: int) -> str:
    """A line of text in which every error is a column with the reference above the hypothesis."""
    line, spaced = "", False
    for reference, hypothesis in errors.aligned(row):
        token = reference or hypothesis
        line += " " if line and not is_unspaced(token[0]) and spaced else ""
        line += escape(reference) if reference == hypothesis else _error(reference, hypothesis)
        spaced = not is_unspaced(token[-1])
    return line


def _error(reference: str, hypothesis: str) -> str:
    kind = "i" if not reference else "d" if not hypothesis else "s"
    left, right = _marked(reference, hypothesis) if kind == "s" else (escape(reference), escape(hypothesis))
    return f'<span class="{kind}">' + (f"<del>{left}</del>" if left else "") + (f"<ins>{right}</ins>" if right else "") + "</span>"


def _marked(reference: str, hypothesis: str) -> tuple[str, str]:
    """Two words with their different characters underlined; not underlined if more than half of the characters differ."""
    steps = Levenshtein.opcodes(reference, hypothesis)
    pieces = [(reference[step.src_start : step.src_end], hypothesis[step.dest_start : step.dest_end]) for step in steps]
    unlike = 2 * Levenshtein.distance(reference, hypothesis) > max(len(reference), len(hypothesis))
    # a piece that begins with a combining mark cannot be separated from its letter
    if unlike or any(unicodedata.category(piece[0])[0] == "M" for pair in pieces for piece in pair if piece):
        return escape(reference), escape(hypothesis)
    left, right = zip(*pieces, strict=True)
    return _underlined(left, right), _underlined(right, left)


def _underlined(pieces: Sequence[str], counterparts: Sequence[str]) -> str:
    pairs = zip(pieces, counterparts, strict=True)
    return "".join(escape(piece) if piece == counterpart or not piece else f"<u>{escape(piece)}</u>" for piece, counterpart in pairs)
