"""Table and picture of a comparison of systems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from m2asr.errors import UserError
from m2asr.files import open_atomic
from m2asr.score.compare import System, difference, read_system, table

NOTES = """Means over seeds ± their standard deviation. Differences are means over languages and seeds with a paired bootstrap over the
utterances of each language; where the interval holds 0 there is no difference that these utterances could show. WER and CER in %.
Largest pull: the largest measured ratio of the length of gamma g of the lower levels to that of the first level's merged gradient."""


def write_comparison(folder: Path, runs: Mapping[str, Sequence[Sequence[Path]]], decode: str) -> str:
    """Write RESULTS.md and comparison.png into `folder` from the scored runs of each row; returns the text.

    Raises UserError where nothing is scored, or a run was scored on other utterances.
    """
    if not runs:
        raise UserError(f"{folder}: no run is finished there yet")
    systems = [read_system(name, folders, decode) for name, folders in runs.items()]
    text = "\n".join([f"# {folder.name}", "", NOTES, "", table(systems), ""])
    with open_atomic(folder / "RESULTS.md") as file:
        file.write(text)
    if len(systems) > 1:
        with open_atomic(folder / "comparison.png", "wb") as file:
            _picture(systems).savefig(file, format="png", dpi=110)
    return text


def _picture(systems: Sequence[System]):
    """The difference of every system from the first in WER, with its interval."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.45 * len(systems) + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    for place, system in enumerate(systems):
        found = (0.0, 0.0, 0.0) if place == 0 else difference(systems[0], system, "wer")
        if found is not None:
            center, low, high = (100 * value for value in found)
            panel.plot([low, high], [place, place], color="tab:blue", linewidth=1.5)
            panel.plot([center], [place], "o", color="tab:blue")
    panel.axvline(0, color="black", linewidth=0.8)
    panel.set_yticks(range(len(systems)), [system.name for system in systems], fontsize=8)
    panel.invert_yaxis()
    panel.grid(alpha=0.3)
    panel.set_xlabel(f"difference in WER from {systems[0].name}, %; better is left (95 % intervals)", fontsize=8)
    return figure
