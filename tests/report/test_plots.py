"""The plots are drawn from every log that a run can leave."""

from __future__ import annotations

import json
import math

import matplotlib.image
import numpy as np
import pytest

from m2asr.report.conflict_plots import plot_conflicts, plot_cosines
from m2asr.report.log import read_log
from m2asr.report.metric_plots import plot_metrics
from m2asr.report.panels import noise_of, smooth, smoothed_error
from m2asr.report.plots import draw
from tests.conftest import command


def write_log(
    exp, upper: int, lower: bool, steps: int = 12, conflicts: bool = True, layers: int = 2, norms: bool = True, noise: bool = False
) -> None:
    names = [f"asr_{number}" for number in range(upper)]
    objectives = [*names, "cpc"] if lower else names
    with open(exp / "train.jsonl", "w") as file:
        for step in range(1, steps + 1):
            measured = objectives if step > 2 else names  # gamma is 0 at first, so that cpc has no cosine yet
            line = {"kind": "train", "step": step, "epoch": 1, "loss": {name: 3 / step for name in objectives}}
            line["gamma"] = {"cpc": 0.01 * step} if lower else {}
            line["levels"] = [names, ["cpc"]] if lower else [names]
            line["lambda"] = {name: 1 / upper for name in names}
            line["metrics"] = {"cpc": {"accuracy": 0.5, "chance": 0.1}} if lower else {}
            if conflicts:
                size, blocks = len(measured), [f"blocks.{number}" for number in range(layers)]
                matrix, rates = np.eye(size).tolist(), dict.fromkeys([*blocks, "all"], 0.4 if size > 1 else 0.0)
                line["conflict"] = {"names": measured, "matrix": matrix, "layers": dict.fromkeys(blocks, matrix), "rate": rates}
                if noise:  # the first two are in conflict, the last gradient is never compared with itself
                    cross = 0.02 * np.random.default_rng(step).standard_normal((size, size)) + 0.3 * np.eye(size)
                    cross[0, 1] = cross[1, 0] = -0.2 + 0.01 * step
                    rows = [[None if i == j == size - 1 else value for j, value in enumerate(row)] for i, row in enumerate(cross)]
                    line["conflict"]["cross"] = dict.fromkeys([*blocks, "all"], rows)
                line["conflict"] |= {"merged": 1 / step, "pull": 0.1 * (measured == objectives), "norm": [1.0] * size}
                line["conflict"] |= {"norms": dict.fromkeys(blocks, [0.5] * size)} if norms else {}
            file.write(json.dumps(line) + "\n")
        file.write(json.dumps({"kind": "dev", "step": steps, "epoch": 1, "loss": {names[0]: 1.0}, "metrics": {}, "select": None}) + "\n")


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize(("upper", "lower", "steps", "layers"), [(2, False, 1, 1), (2, False, 12, 2), (3, True, 4, 5), (11, True, 12, 14)])
def test_runs_of_every_size_have_pictures_with_something_in_them(tmp_path, upper, lower, steps, layers, noise):
    write_log(tmp_path, upper, lower, steps, layers=layers, noise=noise)
    written = draw(tmp_path)
    accuracies = ["metrics.png"] if lower else []  # of CPC
    assert [path.name for path in written] == ["losses.png", *accuracies, "weights.png", "cosines.png", "conflicts.png"]
    for path in written:
        image = matplotlib.image.imread(path)
        assert image.shape[0] > 200 and image.shape[1] > 300 and image.std() > 0.02


def test_without_measured_cosines_there_is_no_matrix(tmp_path):
    write_log(tmp_path, 1, False)
    assert [path.name for path in draw(tmp_path)] == ["losses.png", "weights.png"]
    write_log(tmp_path, 2, False, conflicts=False)
    assert [path.name for path in draw(tmp_path)] == ["losses.png", "weights.png"]


def test_values_that_were_not_finite_leave_a_gap(tmp_path):
    write_log(tmp_path, 2, True)
    text = (tmp_path / "train.jsonl").read_text().replace("0.5}", "null}").replace("3.0", "null")
    (tmp_path / "train.jsonl").write_text(text)
    assert len(draw(tmp_path)) == 5


def test_a_picture_has_panels_only_for_numbers_of_the_log(tmp_path):
    def titles(**options) -> list[str]:
        write_log(tmp_path, 2, **options)
        lines = [line for line in read_log(tmp_path) if line["kind"] == "train"]
        panels = [panel for panel in plot_conflicts(lines).axes if panel.get_visible()]
        assert all(panel.has_data() for panel in panels)
        return [panel.get_title().split(",")[0] for panel in panels]

    every = ["share of pairs of objectives below 0", "cosines by layer", "length of the merged gradient"]
    lengths = "length of the gradient by layer"
    assert titles(lower=True) == [*every, lengths]
    assert titles(lower=True, norms=False) == every
    above_noise = ["share of pairs of objectives in conflict", *every[1:]]
    selves = "signal: cosine of a gradient with itself on another batch"
    assert titles(lower=True, noise=True) == [*above_noise, lengths, selves]


def test_metrics_have_a_panel_for_what_an_objective_measures():
    codes = {"perplexity": 20.0, "perplexity_en": 12.0}
    contrastive, mlm = {"accuracy": 0.5, "chance": 0.1, "few": 0.3, **codes}, {"accuracy": 0.4, "majority": 0.2, **codes}
    balance = {"entropy_router1": 2.0, "load_router1": [0.5, 0.5]}
    train = [{"step": step, "metrics": {"contrastive": contrastive, "mlm": mlm, "asr": {}, "balance": balance}} for step in (1, 2, 3)]
    dev = [{"step": 3, "metrics": {"asr": {"error": 0.9}, "contrastive": {**contrastive, "accuracy": None}, "mlm": mlm}}]
    panels = [panel for panel in plot_metrics(train, dev).axes if panel.get_visible()]
    assert {panel.get_title(): {line.get_label(): line.get_ydata()[-1] for line in panel.get_lines()} for panel in panels} == {
        "error on the dev sets": {"asr": 0.9},
        "contrastive: accuracy": pytest.approx({"accuracy": 0.5, "chance": 0.1}),
        "mlm: accuracy": pytest.approx({"accuracy": 0.4, "accuracy, dev": 0.4, "majority": 0.2}),
        "contrastive, mlm: perplexity of codes or tokens": pytest.approx({"all": 20.0, "en": 12.0}),
        "balance: entropy of routers, in nats": pytest.approx({"router1": 2.0}),
    }
    assert plot_metrics([{"step": 1, "metrics": {"asr": {"unrepresentable": 0.0}}}], []) is None


def test_the_picture_of_cosines_shows_intervals_where_noise_was_measured(tmp_path):
    for noise, count in ((False, 2), (True, 3)):
        write_log(tmp_path, 3, True, noise=noise)
        figure = plot_cosines([line for line in read_log(tmp_path) if line["kind"] == "train"])
        panels = [panel for panel in figure.axes if panel.get_title()]
        assert len(panels) == count
    labels = [text.get_text() for text in panels[1].get_yticklabels()]
    assert labels[0] == "asr_0 | asr_1" and len(labels) == 6
    assert {collection.get_label() for collection in panels[2].collections} == {"noise of a pair at 0"}


def test_smoothing_shrinks_noise_by_the_computed_share():
    noise = np.random.default_rng(1).standard_normal((4000, 12))
    deviation = np.array([smooth(row.tolist()) for row in noise]).std(0)
    assert deviation == pytest.approx(smoothed_error(12), rel=0.05)


def test_the_noise_of_a_series_is_not_its_drift():
    noise = 0.5 * np.random.default_rng(2).standard_normal(2000)
    drifting = noise + np.linspace(0, 20, 2000)
    drifting[::7] = np.nan
    assert noise_of(drifting) == pytest.approx(0.5, rel=0.05) and np.nanstd(drifting) > 5
    assert noise_of(np.array([np.nan, 1.0])) == 0


def test_smoothing_keeps_a_constant_and_passes_over_gaps():
    assert smooth([2.0] * 5) == pytest.approx([2.0] * 5)
    assert smooth([math.nan, 1.0, math.nan])[1:] == pytest.approx([1.0, 1.0])
    assert 0 < smooth([0.0, 1.0])[1] < 1


def test_the_command(tmp_path):
    result = command("plot", "--exp", tmp_path)
    assert result.returncode == 1 and "train.jsonl" in result.stderr and len(result.stderr.strip().splitlines()) == 1
    write_log(tmp_path, 2, True)
    result = command("plot", "--exp", tmp_path)
    assert result.returncode == 0, result.stderr
    assert str(tmp_path / "plots/losses.png") in result.stdout
