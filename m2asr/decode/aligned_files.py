"""What an alignment leaves on the disk: CTM, TextGrids, and lists of the utterances by how well their texts fit."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from m2asr.data.directory import write_table
from m2asr.decode.align import Aligned
from m2asr.decode.ctm import ctm_lines
from m2asr.decode.textgrid import textgrid
from m2asr.errors import UserError
from m2asr.files import open_atomic, replace_dir

FORMATS = ("ctm", "textgrid")


def write_aligned(out: Path, results: Iterable[Aligned], formats: Iterable[str] = FORMATS) -> list[Aligned]:
    """Write the alignments of a set into a folder, replaced as a whole; returns them without marks, the worst first.

    words.ctm and tokens.ctm are sorted by utterance; textgrid/<utterance>.TextGrid has a tier of words and one of tokens. `scores` has
    lines `utterance score text`, the worst first, so that wrong texts come early; `unaligned` has `utterance reason`. Raises UserError
    where the folder holds something else than an alignment.
    """
    if out.exists() and not (out / "scores").is_file():
        raise UserError(f"{out}: it exists and holds no alignment; choose another --out or remove it")
    words: dict[str, str] = {}
    tokens: dict[str, str] = {}
    scored, problems = [], []
    with replace_dir(out) as folder:
        for one in results:
            if one.problem:
                problems.append(one)
                continue
            scored.append(Aligned(one.utt, one.text, one.seconds, score=one.score))
            if "ctm" in formats:
                words[one.utt], tokens[one.utt] = ctm_lines(one.utt, one.words), ctm_lines(one.utt, one.tokens)
            if "textgrid" in formats:
                (folder / "textgrid").mkdir(exist_ok=True)
                path = folder / "textgrid" / f"{one.utt.replace('/', '%2F')}.TextGrid"
                path.write_text(textgrid(one.seconds, {"words": one.words, "tokens": one.tokens}), encoding="utf-8")
        for name, lines in (("words.ctm", words), ("tokens.ctm", tokens)) if "ctm" in formats else ():
            with open_atomic(folder / name) as file:
                file.writelines(lines[utt] for utt in sorted(lines, key=str.encode))
        scored.sort(key=lambda one: one.score)
        with open_atomic(folder / "scores") as file:
            file.writelines(f"{one.utt} {one.score:.4f} {one.text}\n" for one in scored)
        if problems:
            write_table(folder / "unaligned", {one.utt: one.problem for one in problems})
    return problems + scored
