"""The page's figures of what `ipt probe` left in a run's folder: views and a bare Figure in; no axes where it was not called."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from ipt.analysis.plots.maps import Plane, between_lines, change_map, code_bars, landscape_map, transfer_map
from ipt.analysis.plots.style import printable
from ipt.analysis.report.views import View

ROW = 0.165  # inches of a row with a label


def draw_landscape(figure: Figure, views: Sequence[View]) -> None:
    """Draw the loss and the score of the probed task over a plane of codes, with the path of IST."""
    about, found = views[0].probe
    if not about:
        return
    plane = {name.removeprefix("landscape."): values for name, values in found.items() if name.startswith("landscape.")}
    figure.set_size_inches(10.4, 4.8)
    near = dict(zip(about["nearest"], plane["near"], strict=True))
    for axes, what, unit in zip(figure.subplots(1, 2), ("loss", "score"), ("loss (nats per token)", "score"), strict=True):
        space = Plane(first=plane["across"], second=plane["up"], path=plane["path"], starts=plane["starts"], tasks=near)
        landscape_map(axes, plane[what].T, space, unit)
    figure.suptitle(printable(about["task"], 60), fontsize=9)


def draw_curvature(figure: Figure, views: Sequence[View]) -> None:
    """Draw the probed task's numbers with their error bars."""
    about, found = views[0].probe
    if about:
        figure.set_size_inches(6, 3)
        code_bars(figure.subplots(), found["curvature.code"], found["curvature.error"])
        figure.suptitle(printable(about["task"], 60), fontsize=9)


def draw_transfer(figure: Figure, views: Sequence[View]) -> None:
    """Draw what each probed task's code scores on the others."""
    about, found = views[0].probe
    if not about:
        return
    side = 1.5 + ROW * len(about["transfer"])
    figure.set_size_inches(side + 1.6, side)
    transfer_map(figure.subplots(), found["transfer.scores"], about["transfer"], "score on dev rows")


def draw_between(figure: Figure, views: Sequence[View]) -> None:
    """Draw both tasks' scores on the way from the probed task to others."""
    about, found = views[0].probe
    if not about:
        return
    pairs = list(zip(about["between"], found["between.scores"], strict=True))
    figure.set_size_inches(7.2, 3.2)
    for axes, (names, scores) in zip(figure.subplots(1, len(pairs), sharey=True, squeeze=False)[0], pairs, strict=True):
        between_lines(axes, scores, [printable(name) for name in names])


def draw_change(figure: Figure, views: Sequence[View]) -> None:
    """Draw how far each vector of the prompt moves along each number."""
    about, found = views[0].probe
    if about:
        change = found["words.change"]
        figure.set_size_inches(2.4 + 0.3 * change.shape[1], 1.4 + 0.28 * len(change))
        change_map(figure.subplots(), change)
