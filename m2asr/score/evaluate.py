"""Score the hypotheses of one objective on one set: rows for the tables, and the files beside the hypotheses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from m2asr.data.directory import read_table
from m2asr.errors import UserError
from m2asr.files import recover
from m2asr.json_file import INFO, REMEDY, read_json
from m2asr.score.baselines import most_frequent, nearest_sentences
from m2asr.score.bootstrap import error_rate, interval
from m2asr.score.error_rate import COUNTS, Errors, metrics_of, mixed_errors
from m2asr.score.result_txt import write_result, write_trn
from m2asr.score.translation import TranslationScores, translation_scores
from m2asr.text.normalize import normalize
from m2asr.text.scripts import mixed_tokens

Row = dict[str, Any]
LARGEST_TEXTS = 100_000_000  # bytes of training texts that are read for the baselines
MOST_COMPARISONS = 20_000_000  # of references with training sentences, about two minutes; in large corpora few are near a reference


@dataclass
class ScoredUtterances:
    """The scored utterances of one objective on one set."""

    utts: list[str]
    references: list[str]
    hypotheses: list[str]
    speakers: list[str]
    min_words: int
    short: int  # utterances that are left out because their reference has fewer words
    unmatched: int  # hypotheses of utterances that have no reference
    langs: list[str]  # language of every utterance's texts
    groups: list[str] = field(default_factory=list)  # group of every utterance, if figures are computed for each group too

    def figures(self, figures_of: Callable[[np.ndarray], Row]) -> Row:
        """The figures of all utterances and, under `groups`, of each group; `figures_of` computes them from utterance indices."""
        row = figures_of(np.arange(len(self.utts)))
        if self.groups:
            groups = np.array(self.groups)
            row["groups"] = {name: figures_of(np.flatnonzero(groups == name)) for name in sorted(set(self.groups))}
        return row


def score_folder(out: Path, data: Path, min_words: int, by: str = "") -> list[Row]:
    """The rows of one decoded folder (`text` and `info.json`), scored against references and training texts under `data`.

    With `by`, such as spk, every row also has the figures of each group in the set's table utt2<by>. Without it a set in several languages
    has the figures of each language. Prints how many utterances were scored and left out. A set without references has no rows and empty
    trn files. Raises UserError if no reference can be scored, or if an utterance has no group.
    """
    info = read_json(out / "info.json", REMEDY, INFO | {"train_sets": list, "search": dict, "language": str})
    folder, lang, recognition = recover(data / info["set"]), info["lang"], info["task"] == "asr"
    references = read_table(folder / info["text"]) if (folder / info["text"]).is_file() else {}
    if not references:
        print(f"{info['set']} {info['objective']}: not scored, since {folder / info['text']} has no references")
        write_trn(out / "ref.trn", [], [])
        write_trn(out / "hyp.trn", [], [])
        return []
    multilingual = "+" in info["source"]
    by = by or ("lang" if multilingual else "")
    utt2lang = read_table(folder / "utt2lang") if multilingual and recognition else {}
    if recognition:  # so that a reference without words, such as `...`, is left out
        references = {utt: normalize(text, utt2lang.get(utt, lang)) for utt, text in references.items()}
    hypotheses, utt2spk = read_table(out / "text"), read_table(folder / "utt2spk")
    answers = match(references, hypotheses, utt2spk, lang, min_words, out / "text", utt2lang)
    answers.groups = _groups(folder / f"utt2{by}", answers.utts) if by else []
    texts, no_baseline = _training_texts([data / name for name in info["train_sets"]], info["text"])
    if recognition and len(texts) * len(answers.utts) > MOST_COMPARISONS:
        texts, no_baseline = [], f"{len(texts)} training sentences are too many to look each reference up in"
    training = [normalize(text, text_lang or lang) if recognition else text for text, text_lang in texts]
    summary = [f"{len(answers.utts)} utterances scored"]
    summary += [f"{answers.short} below {min_words} words left out"] if answers.short else []
    summary += [f"{answers.unmatched} without reference"] if answers.unmatched else []
    summary += [] if training else [f"no baseline, since {no_baseline}"]
    print(f"{info['set']} {info['objective']}: {', '.join(summary)}")
    rows = (score_recognition if recognition else score_translation)(answers, lang, training, out)
    keys = {key: info[key] for key in ("set", "task", "lang", "source", "objective", "language")} | {"search": info["search"]["name"]}
    keys |= {"language_error": info["language_error"]} if "language_error" in info else {}
    keys |= {} if recognition else {"unrepresentable": info.get("unrepresentable")}
    return [{**keys, **row} for row in rows]


def _groups(path: Path, utts: Sequence[str]) -> list[str]:
    if not path.is_file():
        raise UserError(f"{path}: no such table; --by names one that every scored set has, such as spk for utt2spk")
    groups = read_table(path)
    if missing := [utt for utt in utts if not groups.get(utt)]:
        raise UserError(f"{path}: {missing[0]}: no group ({len(missing)} of {len(utts)} utterances); add the group, or score without --by")
    return [groups[utt] for utt in utts]


def _training_texts(folders: Sequence[Path], name: str) -> tuple[list[tuple[str, str]], str]:
    """The texts `name` of the training sets, each with its language ("" if unknown), and the reason if there are none."""
    present = [folder for folder in folders if (folder / name).is_file()]
    if sum((folder / name).stat().st_size for folder in present) > LARGEST_TEXTS:
        return [], "the training texts are too large"
    texts: list[tuple[str, str]] = []
    for folder in present:
        languages = read_table(folder / "utt2lang") if (folder / "utt2lang").is_file() else {}
        texts += [(text, languages.get(utt, "")) for utt, text in read_table(folder / name).items()]
    return texts, f"no training set has {name}"


def match(
    references: Mapping[str, str],
    hypotheses: Mapping[str, str],
    utt2spk: Mapping[str, str],
    lang: str,
    min_words: int,
    path: Path,
    utt2lang: Mapping[str, str] | None = None,
) -> ScoredUtterances:
    """Match references and hypotheses by utterance; their language is `lang`, or that in `utt2lang`.

    Messages name `path`, the file of the hypotheses. Raises UserError if an utterance has no hypothesis, or if no reference is long enough.
    """
    langs = {utt: (utt2lang or {}).get(utt, lang) for utt in references}
    missing = [utt for utt in references if utt not in hypotheses]
    if missing:
        raise UserError(
            f"{path}: {missing[0]}: no hypothesis ({len(missing)} of {len(references)} utterances); decode the whole set again (stage 5)"
        )
    utts = [utt for utt, text in references.items() if len(mixed_tokens(text)) >= min_words]
    if not any(references[utt] for utt in utts):
        raise UserError(f"{path}: none of the {len(references)} references has {max(1, min_words)} words to score; lower --min_words")
    return ScoredUtterances(
        utts,
        [references[utt] for utt in utts],
        [hypotheses[utt] for utt in utts],
        [utt2spk.get(utt, "unknown") for utt in utts],
        min_words,
        len(references) - len(utts),
        sum(utt not in references for utt in hypotheses),
        [langs[utt] for utt in utts],
    )


def score_recognition(answers: ScoredUtterances, lang: str, training: Sequence[str], out: Path) -> list[Row]:
    """The rows of the error rates; writes ref.trn, hyp.trn and result.txt.

    The baseline is the nearest of the normalized `training` sentences.
    """
    references, hypotheses = (list(map(normalize, texts, answers.langs)) for texts in (answers.references, answers.hypotheses))
    write_trn(out / "ref.trn", answers.utts, references)
    write_trn(out / "hyp.trn", answers.utts, hypotheses)
    write_result(out / "result.txt", answers.utts, answers.speakers, mixed_errors(references, hypotheses))
    rows = []
    for metric in metrics_of(references, lang.split("+")):
        count, tokens = COUNTS[metric], str if metric == "cer" else mixed_tokens
        oracle = count(references, nearest_sentences(references, training, tokens)) if training else None
        rows.append({"metric": metric, **answers.figures(partial(_error_figures, count(references, hypotheses), oracle))})
    return rows


def _error_figures(errors: Errors, oracle: Errors | None, chosen: np.ndarray) -> Row:
    """The error rate of the utterances with indices `chosen`, and that of the oracle."""
    counts = errors.counts[chosen]
    substitutions, deletions, insertions, total = counts.sum(0).tolist()
    row = {"value": error_rate(counts.sum(0)), "ci95": interval(counts, error_rate)}
    row |= {"sub": substitutions, "del": deletions, "ins": insertions, "ref_tokens": total, "utterances": len(chosen)}
    if oracle is not None:
        row["baseline"] = {"name": "nearest training sentence (oracle)", "value": error_rate(oracle.counts[chosen].sum(0))}
    return row


def score_translation(answers: ScoredUtterances, lang: str, training: Sequence[str], out: Path) -> list[Row]:
    """BLEU and chrF rows, cased and punctuated; writes ref.trn, hyp.trn and result.txt.

    The baseline is the most frequent training translation that is as long as the scored ones must be.
    """
    write_trn(out / "ref.trn", answers.utts, answers.references)
    write_trn(out / "hyp.trn", answers.utts, answers.hypotheses)
    write_result(out / "result.txt", answers.utts, answers.speakers, mixed_errors(answers.references, answers.hypotheses))
    frequent = most_frequent([text for text in training if len(mixed_tokens(text)) >= answers.min_words])
    words = np.array([len(mixed_tokens(text)) for text in answers.references])
    rows = []
    for metric in ("bleu", "chrf"):
        scores = translation_scores(metric, answers.references, answers.hypotheses, lang)
        constant = translation_scores(metric, answers.references, [frequent] * len(answers.utts), lang) if frequent else None
        baseline = {"name": f"most frequent translation, `{frequent}`"}
        figures = answers.figures(partial(_translation_figures, scores, words, constant, baseline))
        rows.append({"metric": metric, **figures, "signature": scores.signature})
    return rows


def _translation_figures(
    scores: TranslationScores, words: np.ndarray, constant: TranslationScores | None, baseline: Row, chosen: np.ndarray
) -> Row:
    """The score of the utterances with indices `chosen`, and that of one constant sentence for all of them."""
    statistics = scores.statistics[chosen]
    row = {"value": scores.score_of(statistics.sum(0)), "ci95": interval(statistics, scores.score_of)}
    row |= {"ref_tokens": int(words[chosen].sum()), "utterances": len(chosen)}
    if constant is not None:
        row["baseline"] = {**baseline, "value": constant.score_of(constant.statistics[chosen].sum(0))}
    return row
