"""Table and picture of a comparison of systems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from m2asr.errors import UserError
from m2asr.files import open_atomic
from m2asr.score.compare import METRICS, ComparedSystem, difference, factor, read_system, table, title

NOTES = """Means over seeds ± their standard deviation. Differences are means over languages and seeds with a paired bootstrap over the
utterances of each language; where the interval holds 0 there is no difference that these utterances could show. WER, CER and MER (of
words, and characters of scripts without spaces) in %, each over the sets whose scripts have it.
Largest pull: the largest measured ratio of the length of gamma g of the lower levels to that of the first level's merged gradient."""


def write_comparison(folder: Path, runs: Mapping[str, Sequence[Sequence[Path]]], decode: str) -> str:
    """Write RESULTS.md and comparison.png into `folder` from the scored runs of each row; returns the text.

    Raises UserError if nothing is scored, or if runs were scored on different utterances.
    """
    if not runs:
        raise UserError(f"{folder}: no run in this folder is finished yet")
    systems = [read_system(name, folders, decode) for name, folders in runs.items()]
    text = "\n".join([f"# {folder.name}", "", NOTES, "", table(systems), ""])
    with open_atomic(folder / "RESULTS.md") as file:
        file.write(text)
    if len(systems) > 1:
        with open_atomic(folder / "comparison.png", "wb") as file:
            _picture(systems).savefig(file, format="png", dpi=110)
    return text


def _picture(systems: Sequence[ComparedSystem]):
    """A figure of the difference of every system from the first in the first metric that was measured, with its interval."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    metric = next(metric for metric in METRICS if any(system.scores(metric) for system in systems))
    advice = ", %; better is left" if METRICS[metric] == "asr" else "; better is right"
    figure = Figure(figsize=(7, 0.45 * len(systems) + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    for row, system in enumerate(systems):
        interval = (0.0, 0.0, 0.0) if row == 0 else difference(systems[0], system, metric)
        if interval is not None:
            center, low, high = (factor(metric) * value for value in interval)
            panel.plot([low, high], [row, row], color="tab:blue", linewidth=1.5)
            panel.plot([center], [row], "o", color="tab:blue")
    panel.axvline(0, color="black", linewidth=0.8)
    panel.set_yticks(range(len(systems)), [system.name for system in systems], fontsize=8)
    panel.invert_yaxis()
    panel.grid(alpha=0.3)
    panel.set_xlabel(f"difference in {title(metric)} from {systems[0].name}{advice} (95 % intervals)", fontsize=8)
    return figure
