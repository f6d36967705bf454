"""Compare systems over seeds: means, standard deviations, and paired bootstrap intervals against the first system."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from m2asr.errors import UserError
from m2asr.json_file import INFO, REMEDY, read_json
from m2asr.score.bootstrap import error_rate, paired_mean_interval
from m2asr.score.error_rate import COUNTS, metrics_of
from m2asr.score.result_txt import read_trn
from m2asr.score.translation import translation_scores

METRICS = {"wer": "asr", "mer": "asr", "cer": "asr", "chrf": "st"}  # metric -> the task that it measures
EvalSet = tuple[str, str, str]  # what a metric is measured on: set, language of the text, source language


@dataclass
class Counts:
    """Additive statistics (N, S) of one metric, by utterance, and the function that scores their sums (S,)."""

    utts: list[str]
    values: np.ndarray
    score: Callable[[np.ndarray], float]

    @property
    def total(self) -> float:
        return self.score(self.values.sum(0))


@dataclass
class ComparedSystem:
    """One row of a comparison.

    seeds: for every seed, counts by metric and evaluation set; infos: for every seed, results.json of its runs.
    """

    name: str
    seeds: list[dict[str, dict[EvalSet, Counts]]] = field(default_factory=list)
    infos: list[list[dict[str, Any]]] = field(default_factory=list)

    def scores(self, metric: str) -> list[float]:
        """The mean over evaluation sets for every seed; empty if the metric was not measured."""
        return [statistics.fmean(counts.total for counts in seed[metric].values()) for seed in self.seeds if seed[metric]]

    def pooled(self, metric: str) -> dict[EvalSet, Counts]:
        """The counts of every evaluation set, averaged over the seeds for each utterance.

        Raises UserError if the seeds were scored on different utterances.
        """
        pooled = {}
        for eval_set, first in self.seeds[0][metric].items():
            by_seed = [seed[metric].get(eval_set) for seed in self.seeds]
            if any(counts is None or counts.utts != first.utts for counts in by_seed):
                problem = f"not every seed was scored on the same utterances of {eval_set[0]}"
                raise UserError(f"{self.name}: {problem}; decode and score them again")
            pooled[eval_set] = Counts(first.utts, np.mean([counts.values for counts in by_seed], axis=0), first.score)
        return pooled


def read_system(name: str, runs: Sequence[Sequence[Path]], decode: str, objectives: Sequence[str] = ()) -> ComparedSystem:
    """Read a row from the folders of its runs: for every seed one run, or several that cover different sets, such as monolingual ones.

    With `objectives` (names, or `asr_by_language`) only their targets count. Raises UserError, which names the folder, if a run was not
    scored or if two targets have the same evaluation set.
    """
    system = ComparedSystem(name)
    for folders in runs:
        counted: dict[str, dict[EvalSet, Counts]] = {metric: {} for metric in METRICS}
        infos = []
        for exp in folders:
            results = exp / "results.json"
            decoded = sorted(path.parent for path in (exp / f"decode_{decode}").glob("*/*/info.json"))
            answers = sorted({out.name for out in decoded})
            if decoded and objectives:
                decoded = [out for out in decoded if out.name in objectives]
                if not decoded:
                    raise UserError(f"{exp}: no texts of {', '.join(objectives)} there; --objectives may name {', '.join(answers)}")
            if not results.is_file() or not decoded:
                searches = [path.name.removeprefix("decode_") for path in sorted(exp.glob("decode_*"))]
                hint = f"give another with --decode: {', '.join(searches)}; or " if searches else ""
                raise UserError(f"{exp}: not scored with the search {decode}; {hint}run stages 5 (decode) and 6 (score) there")
            infos.append(read_json(results, "run stage 6 (score) again"))
            for out in decoded:
                for metric, eval_set, counts in _count(out):
                    if eval_set in counted[metric]:
                        advice = "choose one for each set and task with --objectives"
                        raise UserError(f"{out}: another objective has texts of {eval_set[0]} too; {advice}")
                    counted[metric][eval_set] = counts
        system.seeds.append(counted)
        system.infos.append(infos)
    return system


def difference(first: ComparedSystem, second: ComparedSystem, metric: str) -> tuple[float, float, float] | None:
    """score(second) - score(first) with its 95 % interval: the mean over evaluation sets and seeds.

    The result is None if the systems have different evaluation sets. Utterances are resampled within each set, the same ones for both
    systems and all seeds. Raises UserError if the utterances of a set differ.
    """
    first_counts, second_counts = first.pooled(metric), second.pooled(metric)
    if not first_counts or first_counts.keys() != second_counts.keys():
        return None
    for eval_set in first_counts:
        if first_counts[eval_set].utts != second_counts[eval_set].utts:
            problem = f"{first.name} and {second.name} were scored on different utterances of {eval_set[0]}"
            raise UserError(f"{problem}; score both with the same --min_words")
    pairs = [(first_counts[eval_set].values, second_counts[eval_set].values, first_counts[eval_set].score) for eval_set in first_counts]
    center = statistics.fmean(second.scores(metric)) - statistics.fmean(first.scores(metric))
    return center, *paired_mean_interval(pairs)


def table(systems: Sequence[ComparedSystem]) -> str:
    """A Markdown table: one line per system, every metric with its deviation over seeds and its difference from the first system."""
    metrics = [metric for metric in METRICS if any(system.scores(metric) for system in systems)]
    head = ["system", "seeds"]
    for metric in metrics:
        head += [title(metric), f"difference from {systems[0].name} (95 %)"]
    facts = [
        ("train, min", "train_seconds", 60, sum),
        ("audio, h", "audio_seconds", 3600, sum),
        ("memory, GB", "peak_memory_gb", 1, max),
        ("largest pull", "largest_pull", 1, max),  # of the lower levels, over the length of the first level's gradient
    ]
    facts = [fact for fact in facts if any(_fact(system, *fact[1:]) for system in systems)]
    head += [title for title, *_ in facts]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for system in systems:
        cells = [system.name, str(len(system.seeds))]
        for metric in metrics:
            cells += [_mean(system.scores(metric), metric), _difference(systems[0], system, metric)]
        cells += [_fact(system, *fact) for _, *fact in facts]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _count(out: Path) -> list[tuple[str, EvalSet, Counts]]:
    """The counts of one decoded and scored folder by metric; empty if its set has no references."""
    info = read_json(out / "info.json", REMEDY, INFO)
    eval_set = (info["set"], info["lang"], info["source"])
    utts, references = read_trn(out / "ref.trn")
    hyp_utts, hypotheses = read_trn(out / "hyp.trn")
    if utts != hyp_utts:
        raise UserError(f"{out}: ref.trn and hyp.trn do not hold the same utterances; run stage 6 (score) again")
    if not utts:
        return []
    if info["task"] == "asr":
        metrics = metrics_of(references, info["lang"].split("+"))
        return [(metric, eval_set, Counts(utts, COUNTS[metric](references, hypotheses).counts, error_rate)) for metric in metrics]
    chrf = translation_scores("chrf", references, hypotheses, info["lang"])
    return [("chrf", eval_set, Counts(utts, chrf.statistics, chrf.score_of))]


def title(metric: str) -> str:
    return metric.upper() if METRICS[metric] == "asr" else "chrF"


def factor(metric: str) -> float:
    return 100.0 if METRICS[metric] == "asr" else 1.0


def _mean(values: Sequence[float], metric: str) -> str:
    if not values:
        return ""
    deviation = f" ± {factor(metric) * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{factor(metric) * statistics.fmean(values):.1f}{deviation}"


def _difference(first: ComparedSystem, second: ComparedSystem, metric: str) -> str:
    interval = None if first is second else difference(first, second, metric)
    if interval is None:
        return ""
    center, low, high = (factor(metric) * value for value in interval)
    return f"{center:+.1f} ({low:+.1f} to {high:+.1f})" + (", no difference" if low <= 0 <= high else "")


def _fact(system: ComparedSystem, key: str, unit: float, combine: Callable[[list[float]], float]) -> str:
    """The mean over seeds of a value in results.json; `combine` joins the values of several runs of a seed."""
    values = [combine([run[key] for run in runs]) for runs in system.infos if all(_has(run, key) for run in runs)]
    return f"{statistics.fmean(values) / unit:.1f}" if values else ""


def _has(run: Mapping[str, Any], key: str) -> bool:
    return run.get(key) is not None
