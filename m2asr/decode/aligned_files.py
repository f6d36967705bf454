"""Write the files of an alignment: CTM, TextGrids, and lists of the utterances by how well their texts fit."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from m2asr.data.directory import write_table
from m2asr.decode.align import Aligned
from m2asr.decode.ctm import ctm_lines
from m2asr.decode.textgrid import textgrid
from m2asr.files import open_atomic, replace_dir

FORMATS = ("ctm", "textgrid")


def write_aligned(out: Path, results: Iterable[Aligned], formats: Iterable[str] = FORMATS) -> list[Aligned]:
    """Write the alignments of a set into a folder, which replaces an older alignment; returns them without marks, the worst first.

    words.ctm and tokens.ctm are sorted by utterance; textgrid/<utterance>.TextGrid has a tier of words and one of tokens. `scores` has
    lines `utterance score text`, the worst first, so that wrong texts come early; `unaligned` has lines `utterance reason`. Raises
    UserError if another folder has that path.
    """
    words: dict[str, str] = {}
    tokens: dict[str, str] = {}
    aligned, problems = [], []
    with replace_dir(out, "an alignment") as folder:
        for result in results:
            if result.problem:
                problems.append(result)
                continue
            aligned.append(Aligned(result.utt, result.text, result.seconds, score=result.score))
            if "ctm" in formats:
                words[result.utt], tokens[result.utt] = ctm_lines(result.utt, result.words), ctm_lines(result.utt, result.tokens)
            if "textgrid" in formats:
                (folder / "textgrid").mkdir(exist_ok=True)
                path = folder / "textgrid" / f"{result.utt.replace('/', '%2F')}.TextGrid"
                path.write_text(textgrid(result.seconds, {"words": result.words, "tokens": result.tokens}), encoding="utf-8")
        for name, lines in (("words.ctm", words), ("tokens.ctm", tokens)) if "ctm" in formats else ():
            with open_atomic(folder / name) as file:
                file.writelines(lines[utt] for utt in sorted(lines, key=str.encode))
        aligned.sort(key=lambda result: result.score)
        with open_atomic(folder / "scores") as file:
            file.writelines(f"{result.utt} {result.score:.4f} {result.text}\n" for result in aligned)
        if problems:
            write_table(folder / "unaligned", {result.utt: result.problem for result in problems})
    return problems + aligned
