"""The page's figures of what `ipt probe` wrote into a run's folder: views and a bare Figure in.

A function draws no axes where the command was not called.
"""

from collections.abc import Sequence

from matplotlib.figure import Figure

from ipt.analysis.plots.maps import (
    LOSS,
    Plane,
    between_lines,
    change_map,
    code_bars,
    landscape_map,
    transfer_map,
)
from ipt.analysis.plots.style import ROW_HEIGHT, printable
from ipt.analysis.report.vectors import NAME
from ipt.analysis.report.views import Probe, View

# What is drawn over the plane, in order of the panels
UNITS = {"loss": LOSS, "score": "score"}


def draw_landscape(figure: Figure, views: Sequence[View]) -> None:
    """Draw the probed task's loss and score over a plane of codes, with the path of IST."""
    probe = views[0].probe
    if probe is None:
        return

    # seen tasks near the plane, with their coordinates [tasks, 2] in it
    near = zip(probe.record["nearest"], probe.arrays["landscape.near"], strict=True)
    plane = Plane(
        first=probe.arrays["landscape.across"],
        second=probe.arrays["landscape.up"],
        path=probe.arrays["landscape.path"],
        starts=probe.arrays["landscape.starts"],
        tasks=dict(near),
    )

    figure.set_size_inches(10.4, 4.8)
    panels = figure.subplots(1, 2)
    for axes, (name, unit) in zip(panels, UNITS.items(), strict=True):
        values = probe.arrays[f"landscape.{name}"]  # [G2, G1]
        landscape_map(axes, values.T, plane, unit=unit, size=NAME)
    _name_task(figure, probe)


def _name_task(figure: Figure, probe: Probe) -> None:
    # with room for a long name: it stands over the whole figure
    figure.suptitle(printable(probe.task, 60), fontsize=9)


def draw_curvature(figure: Figure, views: Sequence[View]) -> None:
    """Draw the probed task's numbers with their error bars."""
    probe = views[0].probe
    if probe is None:
        return
    figure.set_size_inches(6, 3)
    code = probe.arrays["curvature.code"]  # [d]
    error = probe.arrays["curvature.error"]  # [d]
    code_bars(figure.subplots(), code, error)
    _name_task(figure, probe)


def draw_transfer(figure: Figure, views: Sequence[View]) -> None:
    """Draw what each probed task's code scores on the others."""
    probe = views[0].probe
    if probe is None:
        return
    names = probe.record["transfer"]
    scores = probe.arrays["transfer.scores"]  # [tasks, tasks]

    # a square, with room for the colour bar
    side = 1.5 + ROW_HEIGHT * len(names)
    figure.set_size_inches(side + 1.6, side)
    transfer_map(figure.subplots(), scores, names, unit="score on dev rows")


def draw_between(figure: Figure, views: Sequence[View]) -> None:
    """Draw both tasks' scores on the way from the probed task to others."""
    probe = views[0].probe
    if probe is None:
        return
    pairs = probe.record["between"]
    scores = probe.arrays["between.scores"]  # [pairs, 2, P]

    figure.set_size_inches(7.2, 3.2)
    panels = figure.subplots(1, len(pairs), sharey=True, squeeze=False).flat
    for axes, names, heights in zip(panels, pairs, scores, strict=True):
        between_lines(axes, heights, [printable(name) for name in names])


def draw_change(figure: Figure, views: Sequence[View]) -> None:
    """Draw how far each vector of the prompt moves along each number."""
    probe = views[0].probe
    if probe is None:
        return
    change = probe.arrays["words.change"]  # [d, n]
    dim, length = change.shape

    # a cell has about the same size whatever the shape
    figure.set_size_inches(2.4 + 0.3 * length, 1.4 + 0.28 * dim)
    change_map(figure.subplots(), change)
