"""The report on experts: how evenly they are used, and which languages they serve."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from m2asr.files import open_atomic
from m2asr.objectives.balance import DEAD
from m2asr.report.panels import hide, new_figure, plot_table
from m2asr.report.tables import table_head, table_row

if TYPE_CHECKING:
    from m2asr.decode.expert_use import Use

Used = Mapping[str, Mapping[str, "Use"]]  # by tap of the router, and by language
READING = (
    "Entropy is the mean of the router's at a state, in nats, at most log(number of experts). Load is an expert's share of the choices, as "
    "a multiple of an equal share; a dead expert has less than {:g}. Specialization is the mutual information of expert and language over "
    "the entropy of languages, which are weighted equally: 0 if all languages use the experts alike, 1 if the expert tells the language."
)


def write_report(use: Used, exp: Path) -> str:
    """Write experts/experts.json and experts/experts.png into exp, and return the report as Markdown."""
    folder = exp / "experts"
    with open_atomic(folder / "experts.json") as file:
        json.dump({tap: {lang: _plain(used) for lang, used in langs.items()} for tap, langs in use.items()}, file, indent=1)
    with open_atomic(folder / "experts.png", "wb") as file:
        _heat_maps(use).savefig(file, format="png", dpi=110)
    return "\n".join([f"# {exp.name}: experts", "", *_table(use), "", READING.format(DEAD)]) + "\n"


def specialization(shares: np.ndarray) -> float:
    """Mutual information of expert and language over the entropy of languages, from shares (L, E) of languages that count equally."""
    joint = shares / len(shares)
    independent = joint.sum(0) / len(shares)  # (E,)
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.nansum(joint * np.log(joint / independent))
    return float(information) / math.log(len(shares)) if len(shares) > 1 else math.nan


def _table(use: Used) -> list[str]:
    lines = table_head(["router", "entropy", "largest load", "smallest load", "dead", "specialization"])
    for tap, langs in use.items():
        counts, states = sum(used.counts for used in langs.values()).numpy(), sum(used.states for used in langs.values())
        loads = counts / counts.sum() * len(counts)
        cells = [sum(used.entropy for used in langs.values()) / states, loads.max(), loads.min()]
        special = specialization(np.array([used.shares for used in langs.values()]))
        shown = "" if math.isnan(special) else f"{special:.2f}"
        lines.append(table_row([tap, *(f"{value:.2f}" for value in cells), str(int((loads < DEAD).sum())), shown]))
    return lines


def _heat_maps(use: Used) -> Any:
    """Draw a panel per router: the share of each expert in the states of each language."""
    langs = list(next(iter(use.values())))
    count = len(next(iter(next(iter(use.values())).values())).shares)
    columns = 1 if count > 16 else min(2, len(use))
    rows = math.ceil(len(use) / columns)
    width, height = max(4.0, 0.42 * count + 1.2), 0.32 * len(langs) + 1.2
    figure, panels = new_figure(rows, columns, columns * width, rows * height + 0.4)
    figure.suptitle("share of each expert in the states of each language, in %", fontsize=10)
    for panel, (tap, used) in zip(panels, use.items(), strict=False):
        shares = 100 * np.array([used[lang].shares for lang in langs])
        plot_table(panel, shares, langs, [str(number) for number in range(count)], ".0f", vmin=0, vmax=max(100 / count, shares.max()))
        panel.set_title(tap, fontsize=10)
        panel.set_xlabel("expert", fontsize=9)
    hide(panels, len(use))
    return figure


def _plain(used: Use) -> dict[str, Any]:
    return {"shares": [round(share, 6) for share in used.shares], "entropy": used.entropy / max(used.states, 1), "states": used.states}
