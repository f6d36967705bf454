"""Read a decoded and scored folder: the texts of one objective on one set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from m2asr.data.directory import read_table
from m2asr.errors import UserError
from m2asr.json_file import INFO, REMEDY, read_json
from m2asr.score.error_rate import Errors, mixed_errors
from m2asr.score.result_txt import read_trn
from m2asr.score.translation import translation_scores


@dataclass
class Decoded:
    """The scored texts of one folder `decode_<search>/<set>/<objective>`."""

    search: str
    set: str
    objective: str
    task: str  # asr or st
    lang: str  # language of the texts; several are joined by +
    utts: list[str]
    references: list[str]
    hypotheses: list[str]
    langs: list[str]  # language of every utterance's texts
    decoded: int  # utterances with a hypothesis, scored or not
    errors: Errors | None  # of a recognition: in words, or in characters of scripts without spaces
    chrf: list[float]  # chrF of every translation, 0 to 100


def read_decoded(out: Path, data: Path) -> Decoded:
    """Read a scored folder and align its texts. Raises UserError if it was not scored."""
    info = read_json(out / "info.json", REMEDY, INFO)
    utts, references = read_trn(out / "ref.trn")
    hyp_utts, hypotheses = read_trn(out / "hyp.trn")
    if utts != hyp_utts:
        raise UserError(f"{out}: ref.trn and hyp.trn do not hold the same utterances; run stage 6 (score) again")
    recognition = info["task"] == "asr"
    spoken = read_table(data / info["set"] / "utt2lang") if recognition and "+" in info["lang"] else {}
    langs = [spoken.get(utt, info["lang"]) for utt in utts]
    errors, chrf = None, []
    if recognition:
        errors = mixed_errors(references, hypotheses)
    elif utts:
        chrf_score = translation_scores("chrf", references, hypotheses, info["lang"])
        chrf = [chrf_score.score_of(statistics) for statistics in chrf_score.statistics]
    search = out.parent.parent.name.removeprefix("decode_")
    description = info["set"], info["objective"], info["task"], info["lang"]
    return Decoded(search, *description, utts, references, hypotheses, langs, len(read_table(out / "text")), errors, chrf)
