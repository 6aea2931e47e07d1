"""The page's loss curves, from the lines that a run writes while a stage goes on.

A stage's own lines have the loss over its jobs; lines of single jobs have the dev loss alone, whose
mean over jobs is drawn then.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ipt.analysis.plots.style import MEDIUM, printable
from ipt.analysis.report.colours import GREEN, ORANGE
from ipt.analysis.report.views import View

Lines = Sequence[dict[str, Any]]
COLUMNS = 2
MOST = 8  # stages
TITLES = {
    "msf": "the subspace (MSF)",
    "shared": "one prompt for all",
    "ist-mixture": "mixtures of seen prompts",
    "ist-random": "random subspace",
    "ist-random-start": "random directions",
    "ist-pca": "PCA subspace",
}


def draw_loss(figure: Figure, views: Sequence[View]) -> None:
    """Draw a panel for each stage that has two steps or more."""
    curves = {}
    for stage, lines in views[0].losses.items():
        found = curves_of(lines)
        if any(len(steps) > 1 for steps, *_ in found.values()):
            curves[stage] = found
    if not curves:
        return
    shown = dict(list(curves.items())[:MOST])
    rows = math.ceil(len(shown) / COLUMNS)
    columns = min(COLUMNS, len(shown))
    figure.set_size_inches(3 * columns, 0.5 + 1.8 * rows)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, (stage, found) in zip(panels, shown.items(), strict=False):
        _panel(axes, TITLES.get(stage, _title(stage)), found)
    for axes in panels[len(shown) :]:
        axes.remove()
    handles, names = panels[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, names, loc="outside upper left", ncols=2, frameon=False)


def _title(stage: str) -> str:
    return "numbers of the tasks (IST)" if stage.startswith("ist-") else stage


def curves_of(lines: Lines) -> dict[str, tuple[list[float], list[float], list[float], list[float]]]:
    """Return steps, loss, 10th and 90th percentile over jobs, by the name of the curve."""
    whole = [line for line in lines if "stage" in line]
    if whole:
        found = {}
        for name, key in {"train loss": "loss", "dev loss": "dev_loss"}.items():
            steps, middle, low, high = [], [], [], []
            for line in whole:
                if line.get(key) is None:
                    continue
                steps.append(line["step"])
                middle.append(line[key])
                low.append(_end(line, f"{key}_p10", line[key]))
                high.append(_end(line, f"{key}_p90", line[key]))
            if steps:
                found[name] = (steps, middle, low, high)
        return found

    by_step: dict[float, list[float]] = {}
    for line in lines:
        value = line.get("dev_loss")
        if value is not None and math.isfinite(value):
            by_step.setdefault(line["step"], []).append(value)
    if not by_step:
        return {}
    steps = sorted(by_step)
    ends = np.array([np.percentile(by_step[step], (10, 90)) for step in steps])
    means = [float(np.mean(by_step[step])) for step in steps]
    return {"dev loss": (steps, means, ends[:, 0].tolist(), ends[:, 1].tolist())}


def _end(line: dict[str, Any], key: str, otherwise: float) -> float:
    value = line.get(key)
    return otherwise if value is None else value


def _panel(axes: Axes, title: str, found: dict[str, Any]) -> None:
    colours = {"train loss": GREEN, "dev loss": ORANGE}
    marks = {"train loss": "", "dev loss": "o"}
    for name, (steps, middle, low, high) in found.items():
        colour = colours[name]
        axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(
            steps,
            middle,
            color=colour,
            marker=marks[name],
            markersize=3.5,
            linewidth=1.4,
            label=name,
        )
    axes.set_title(printable(title, 40), fontsize=MEDIUM + 1, loc="left")
    axes.set_xlabel("step")
    axes.set_ylabel("nats per token")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.spines[["top", "right"]].set_visible(False)
