"""Score the hypotheses of one objective on one set: rows for the tables, and the files beside the hypotheses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from m2asr.data.directory import read_table
from m2asr.errors import UserError
from m2asr.score.baselines import most_frequent, nearest_sentences
from m2asr.score.bootstrap import error_rate, interval
from m2asr.score.error_rate import Errors, character_errors, word_errors
from m2asr.score.result_txt import write_result, write_trn
from m2asr.score.translation import Translation, translation
from m2asr.text.normalize import UNSPACED, normalize

Row = dict[str, Any]
LARGEST_TEXTS = 100_000_000  # bytes of training texts that are read for the baselines
MOST_COMPARISONS = 20_000_000  # of a reference with a training sentence, about two minutes; large corpora hold few near ones anyway


@dataclass
class Answers:
    """The scored utterances of one objective on one set."""

    utts: list[str]
    references: list[str]
    hypotheses: list[str]
    speakers: list[str]
    min_words: int
    short: int  # utterances left out, since their reference has fewer words
    unmatched: int  # hypotheses of utterances that have no reference
    langs: list[str]  # of every utterance's texts
    groups: list[str] = field(default_factory=list)  # of every utterance, where the figures are told per group as well

    def figures(self, of: Callable[[np.ndarray], Row]) -> Row:
        """What `of` tells of all utterances, by their numbers, and under `groups` what it tells of each group."""
        row = of(np.arange(len(self.utts)))
        if self.groups:
            groups = np.array(self.groups)
            row["groups"] = {name: of(np.flatnonzero(groups == name)) for name in sorted(set(self.groups))}
        return row


def score_folder(out: Path, data: Path, min_words: int, by: str = "") -> list[Row]:
    """The rows of one decoded folder (`text` and `info.json`), against references and training texts under `data`.

    With `by`, such as spk, every row has the figures of the groups in the set's table utt2<by> too; a set in several languages has those
    of its languages without. Prints what was scored and what was left out; a set without references has no rows and empty trn files.
    Raises UserError where no reference can be scored, or an utterance has no group.
    """
    info = json.loads((out / "info.json").read_text(encoding="utf-8"))
    folder, lang, recognition = data / info["set"], info["lang"], info["task"] == "asr"
    references = read_table(folder / info["text"]) if (folder / info["text"]).is_file() else {}
    if not references:
        print(f"{info['set']} {info['objective']}: not scored, since {folder / info['text']} has no references")
        write_trn(out / "ref.trn", [], [])
        write_trn(out / "hyp.trn", [], [])
        return []
    several = "+" in info["source"]
    by = by or ("lang" if several else "")
    utt2lang = read_table(folder / "utt2lang") if several and recognition else {}
    hypotheses, utt2spk = read_table(out / "text"), read_table(folder / "utt2spk")
    answers = match(references, hypotheses, utt2spk, lang, min_words, out / "text", utt2lang)
    answers.groups = _groups(folder / f"utt2{by}", answers.utts) if by else []
    texts, without = _training_texts([data / name for name in info["train_sets"]], info["text"])
    if recognition and len(texts) * len(answers.utts) > MOST_COMPARISONS:
        texts, without = [], f"{len(texts)} training sentences are too many to look each reference up in"
    training = [normalize(text, spoken or lang) if recognition else text for text, spoken in texts]
    told = [f"{len(answers.utts)} utterances scored"]
    told += [f"{answers.short} below {min_words} words left out"] if answers.short else []
    told += [f"{answers.unmatched} without reference"] if answers.unmatched else []
    told += [] if training else [f"no baseline, since {without}"]
    print(f"{info['set']} {info['objective']}: {', '.join(told)}")
    rows = (score_recognition if recognition else score_translation)(answers, lang, training, out)
    named = {key: info[key] for key in ("set", "task", "lang", "source", "objective", "language")} | {"search": info["search"]["name"]}
    named |= {"language_error": info["language_error"]} if "language_error" in info else {}
    named |= {} if recognition else {"unrepresentable": info["unrepresentable"]}
    return [{**named, **row} for row in rows]


def _groups(path: Path, utts: Sequence[str]) -> list[str]:
    if not path.is_file():
        raise UserError(f"{path}: no such table; --by names one that every scored set has, such as spk for utt2spk")
    groups = read_table(path)
    if missing := [utt for utt in utts if not groups.get(utt)]:
        raise UserError(f"{path}: {missing[0]}: no group ({len(missing)} of {len(utts)} utterances); repair it, or score without --by")
    return [groups[utt] for utt in utts]


def _training_texts(folders: Sequence[Path], name: str) -> tuple[list[tuple[str, str]], str]:
    """The texts `name` of the training sets, each with the language of its utterance ("" where unknown), or none of them and why."""
    present = [folder for folder in folders if (folder / name).is_file()]
    if sum((folder / name).stat().st_size for folder in present) > LARGEST_TEXTS:
        return [], "the training texts are too large"
    texts: list[tuple[str, str]] = []
    for folder in present:
        languages = read_table(folder / "utt2lang") if (folder / "utt2lang").is_file() else {}
        texts += [(text, languages.get(utt, "")) for utt, text in read_table(folder / name).items()]
    return texts, f"no training set has {name}"


def word_count(text: str, lang: str) -> int:
    """How many words a text has; those of Chinese and Japanese are their characters."""
    return len(text.replace(" ", "") if lang in UNSPACED else text.split())


def match(
    references: Mapping[str, str],
    hypotheses: Mapping[str, str],
    utt2spk: Mapping[str, str],
    lang: str,
    min_words: int,
    where: Path,
    utt2lang: Mapping[str, str] | None = None,
) -> Answers:
    """Bring references and hypotheses together, which are in `lang`, or as `utt2lang` tells.

    Raises UserError naming an utterance that was not decoded, or if none is long enough.
    """
    langs = {utt: (utt2lang or {}).get(utt, lang) for utt in references}
    missing = [utt for utt in references if utt not in hypotheses]
    if missing:
        raise UserError(
            f"{where}: {missing[0]}: no hypothesis ({len(missing)} of {len(references)} utterances); decode the whole set again (stage 5)"
        )
    utts = [utt for utt, text in references.items() if word_count(text, langs[utt]) >= min_words]
    if not any(references[utt] for utt in utts):
        raise UserError(f"{where}: none of the {len(references)} references has {max(1, min_words)} words to score; lower --min_words")
    return Answers(
        utts,
        [references[utt] for utt in utts],
        [hypotheses[utt] for utt in utts],
        [utt2spk.get(utt, "unknown") for utt in utts],
        min_words,
        len(references) - len(utts),
        sum(utt not in references for utt in hypotheses),
        [langs[utt] for utt in utts],
    )


def score_recognition(answers: Answers, lang: str, training: Sequence[str], out: Path) -> list[Row]:
    """WER and CER rows; writes ref.trn, hyp.trn and result.txt. The baseline is the nearest sentence of `training`, normalized ones."""
    references, hypotheses = (list(map(normalize, texts, answers.langs)) for texts in (answers.references, answers.hypotheses))
    write_trn(out / "ref.trn", answers.utts, references)
    write_trn(out / "hyp.trn", answers.utts, hypotheses)
    rows = []
    for metric, count in (("wer", word_errors), ("cer", character_errors)):
        errors = count(references, hypotheses)
        if metric == ("cer" if lang in UNSPACED else "wer"):
            write_result(out / "result.txt", answers.utts, answers.speakers, errors)
        oracle = count(references, nearest_sentences(references, training, characters=metric == "cer")) if training else None
        rows.append({"metric": metric, **answers.figures(partial(_error_figures, errors, oracle))})
    return rows


def _error_figures(errors: Errors, oracle: Errors | None, chosen: np.ndarray) -> Row:
    """The error rate of chosen utterances (numbers), and that of the oracle."""
    counts = errors.counts[chosen]
    substitutions, deletions, insertions, total = counts.sum(0).tolist()
    row = {"value": error_rate(counts.sum(0)), "ci95": interval(counts, error_rate)}
    row |= {"sub": substitutions, "del": deletions, "ins": insertions, "ref_tokens": total, "utterances": len(chosen)}
    if oracle is not None:
        row["baseline"] = {"name": "nearest training sentence (oracle)", "value": error_rate(oracle.counts[chosen].sum(0))}
    return row


def score_translation(answers: Answers, lang: str, training: Sequence[str], out: Path) -> list[Row]:
    """BLEU and chrF rows, cased and punctuated; writes ref.trn, hyp.trn and result.txt.

    The baseline is the most frequent training translation that is as long as the scored ones must be.
    """
    write_trn(out / "ref.trn", answers.utts, answers.references)
    write_trn(out / "hyp.trn", answers.utts, answers.hypotheses)
    write_result(out / "result.txt", answers.utts, answers.speakers, word_errors(answers.references, answers.hypotheses))
    frequent = most_frequent([text for text in training if word_count(text, lang) >= answers.min_words])
    words = np.array([len(text.split()) for text in answers.references])
    rows = []
    for metric in ("bleu", "chrf"):
        found = translation(metric, answers.references, answers.hypotheses, lang)
        same = translation(metric, answers.references, [frequent] * len(answers.utts), lang) if frequent else None
        baseline = {"name": f"most frequent translation, `{frequent}`"}
        figures = answers.figures(partial(_translation_figures, found, words, same, baseline))
        rows.append({"metric": metric, **figures, "signature": found.signature})
    return rows


def _translation_figures(found: Translation, words: np.ndarray, same: Translation | None, baseline: Row, chosen: np.ndarray) -> Row:
    """The score of chosen utterances (numbers), and that of the `same` sentence for all of them."""
    statistics = found.statistics[chosen]
    row = {"value": found.score_of(statistics.sum(0)), "ci95": interval(statistics, found.score_of)}
    row |= {"ref_tokens": int(words[chosen].sum()), "utterances": len(chosen)}
    if same is not None:
        row["baseline"] = {**baseline, "value": same.score_of(same.statistics[chosen].sum(0))}
    return row
