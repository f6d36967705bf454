"""Compare systems over seeds: means, standard deviations, and paired bootstrap intervals against the first."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from m2asr.errors import UserError
from m2asr.score.bootstrap import error_rate, paired_means
from m2asr.score.error_rate import character_errors, word_errors
from m2asr.score.result_txt import read_trn
from m2asr.score.translation import translation

METRICS = {"wer": "asr", "cer": "asr", "chrf": "st"}  # metric: the task that it measures
Part = tuple[str, str, str]  # set, language of the text, source language: what one metric is measured on


@dataclass
class Counts:
    """Additive statistics (N, S) of one metric on one set, utterance by utterance, and the score of their sums (S,)."""

    utts: list[str]
    values: np.ndarray
    score: Callable[[np.ndarray], float]

    @property
    def total(self) -> float:
        return self.score(self.values.sum(0))


@dataclass
class System:
    """One row of a comparison. seeds: per seed what was counted, per metric and part; facts: results.json of every run, per seed."""

    name: str
    seeds: list[dict[str, dict[Part, Counts]]] = field(default_factory=list)
    facts: list[list[dict[str, Any]]] = field(default_factory=list)

    def scores(self, metric: str) -> list[float]:
        """The mean over parts, per seed; empty where the metric was not measured."""
        return [statistics.fmean(part.total for part in seed[metric].values()) for seed in self.seeds if seed[metric]]

    def pooled(self, metric: str) -> dict[Part, Counts]:
        """Every part with the statistics of each utterance averaged over the seeds. Raises UserError where seeds differ in utterances."""
        found = {}
        for part, first in self.seeds[0][metric].items():
            others = [seed[metric].get(part) for seed in self.seeds]
            if any(other is None or other.utts != first.utts for other in others):
                raise UserError(f"{self.name}: not every seed was scored on the same utterances of {part[0]}; decode and score them again")
            found[part] = Counts(first.utts, np.mean([other.values for other in others], axis=0), first.score)
        return found


def read_system(name: str, runs: Sequence[Sequence[Path]], decode: str, objectives: Sequence[str] = ()) -> System:
    """A row from the folders of its runs, per seed one or several that together answer all parts (monolingual ones).

    With `objectives` (names, or `asr_by_language`) only what they answer counts. Raises UserError naming the folder that was not scored, or
    that answers what another did.
    """
    system = System(name)
    for folders in runs:
        counted: dict[str, dict[Part, Counts]] = {metric: {} for metric in METRICS}
        facts = []
        for exp in folders:
            results = exp / "results.json"
            outs = sorted(path.parent for path in (exp / f"decode_{decode}").glob("*/*/info.json"))
            answers = sorted({out.name for out in outs})
            if outs and objectives:
                outs = [out for out in outs if out.name in objectives]
                if not outs:
                    raise UserError(f"{exp}: none of {', '.join(objectives)} answers there, but {', '.join(answers)}")
            if not results.is_file() or not outs:
                others = [path.name.removeprefix("decode_") for path in sorted(exp.glob("decode_*"))]
                there = f"give another with --decode: {', '.join(others)}; or " if others else ""
                raise UserError(f"{exp}: not scored with the search {decode}; {there}run stages 5 (decode) and 6 (score) there")
            facts.append(json.loads(results.read_text(encoding="utf-8")))
            for out in outs:
                for metric, part, counts in _count(out):
                    if part in counted[metric]:
                        advice = "choose one for each set and task with --objectives"
                        raise UserError(f"{out}: another objective answers {part[0]} too; {advice}")
                    counted[metric][part] = counts
        system.seeds.append(counted)
        system.facts.append(facts)
    return system


def difference(first: System, second: System, metric: str) -> tuple[float, float, float] | None:
    """score(second) - score(first) with its 95 % interval, means over the parts and seeds; None where they do not answer the same parts.

    Utterances are resampled within each part, the same ones for both systems and all seeds. Raises UserError where the
    utterances of a part differ.
    """
    one, two = first.pooled(metric), second.pooled(metric)
    if not one or one.keys() != two.keys():
        return None
    for part in one:
        if one[part].utts != two[part].utts:
            what = f"{first.name} and {second.name} were scored on other utterances of {part[0]}"
            raise UserError(f"{what}; score both with the same --min_words")
    pairs = [(one[part].values, two[part].values, one[part].score) for part in one]
    center = statistics.fmean(second.scores(metric)) - statistics.fmean(first.scores(metric))
    return center, *paired_means(pairs)


def table(systems: Sequence[System]) -> str:
    """Markdown: one line per system, every metric with its deviation over seeds and its difference from the first system."""
    metrics = [metric for metric in METRICS if any(system.scores(metric) for system in systems)]
    head = ["system", "seeds"]
    for metric in metrics:
        head += [_title(metric), f"difference from {systems[0].name} (95 %)"]
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


def _count(out: Path) -> list[tuple[str, Part, Counts]]:
    """What one decoded and scored folder answers, per metric; nothing where its set has no references."""
    info = json.loads((out / "info.json").read_text(encoding="utf-8"))
    part = (info["set"], info["lang"], info["source"])
    utts, references = read_trn(out / "ref.trn")
    same, hypotheses = read_trn(out / "hyp.trn")
    if utts != same:
        raise UserError(f"{out}: ref.trn and hyp.trn do not hold the same utterances; run stage 6 (score) again")
    if not utts:
        return []
    if info["task"] == "asr":
        counts = {"wer": word_errors(references, hypotheses).counts, "cer": character_errors(references, hypotheses).counts}
        return [(metric, part, Counts(utts, values, error_rate)) for metric, values in counts.items()]
    found = translation("chrf", references, hypotheses, info["lang"])
    return [("chrf", part, Counts(utts, found.statistics, found.score_of))]


def _title(metric: str) -> str:
    return metric.upper() if METRICS[metric] == "asr" else "chrF"


def _factor(metric: str) -> float:
    return 100.0 if METRICS[metric] == "asr" else 1.0


def _mean(values: Sequence[float], metric: str) -> str:
    if not values:
        return ""
    deviation = f" ± {_factor(metric) * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{_factor(metric) * statistics.fmean(values):.1f}{deviation}"


def _difference(first: System, second: System, metric: str) -> str:
    found = None if first is second else difference(first, second, metric)
    if found is None:
        return ""
    center, low, high = (_factor(metric) * value for value in found)
    return f"{center:+.1f} ({low:+.1f} to {high:+.1f})" + (", no difference" if low <= 0 <= high else "")


def _fact(system: System, key: str, unit: float, join: Callable[[list[float]], float]) -> str:
    """The mean over seeds; several runs of a seed count together."""
    values = [join([run[key] for run in runs]) for runs in system.facts if all(_has(run, key) for run in runs)]
    return f"{statistics.fmean(values) / unit:.1f}" if values else ""


def _has(run: Mapping[str, Any], key: str) -> bool:
    return run.get(key) is not None
