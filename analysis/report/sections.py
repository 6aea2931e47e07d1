"""The figures of the page: one entry in `DRAWINGS` each. A drawing gets views and a bare Figure and reads no file.

To add one, write a function that draws on a Figure and add an entry; where a run lacks what it shows, it draws no axes and is left
out. An artist with the gid `task-3` is the fourth of the view's tasks: the page shows the task's name, subcategory and recovery there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ipt.analysis.geometry import (
    cosine_matrix,
    embed,
    linkage,
    nearest_distance,
    rank_correlation,
    spectrum,
)
from ipt.analysis.plots.bars import recovery_bars, stability_violins
from ipt.analysis.plots.maps import cosine_map, distance_scatter
from ipt.analysis.plots.style import CONDITION_COLOURS, INK, entry, legend, printable, tidy
from ipt.analysis.report.comparison import draw_angles, draw_both, draw_growth
from ipt.analysis.report.landscape import ROW, draw_between, draw_change, draw_curvature, draw_landscape, draw_transfer
from ipt.analysis.report.views import NOWHERE, View
from ipt.analysis.scores import TITLES

# at least 3 : 1 on white and on the page's dark ground
PALETTE = ("#2a78c2", "#d1352b", "#2b9348", "#9a5cc9", "#c26a12", "#d6478f", "#0f8f9c", "#857a00", "#5b6ee1", "#5f9e1f")
SHAPES = "s^Dv<P>X*p"  # beside the colours, for every kind of colour vision
OTHERS = "#8b9097"


@dataclass(frozen=True)
class Drawing:
    """A figure of the page.

    together: one figure for all runs, instead of one for each.
    """

    key: str
    title: str
    caption: str
    draw: Callable[[Figure, Sequence[View]], None]
    together: bool = False


def draw_recovery(figure: Figure, views: Sequence[View]) -> None:
    """Draw each setting's recovery with its interval, a group of bars per run."""
    found = [{line.setting: line.recovery for line in view.lines if line.group == "all"} for view in views]
    settings = [name for name in TITLES if any(name in each for each in found)]
    values = {s: [each[s].relative if s in each else NOWHERE for each in found] for s in settings}
    intervals = {s: [each[s].interval if s in each else (NOWHERE, NOWHERE) for each in found] for s in settings}
    figure.set_size_inches(max(7.2, 4.4 * len(views)), 4.4)
    recovery_bars(figure.subplots(), values, intervals, [printable(view.label, 40) for view in views], TITLES)


def draw_stability(figure: Figure, views: Sequence[View]) -> None:
    """Draw, for each method of `ipt stability`, the seeds' mean scores and how much each task's score depends on the seed."""
    found = views[0].stability
    if not found:
        return
    methods = [row["method"] for row in found["rows"]]
    tables = {method: np.array([*found["by_seed"][method].values()]) for method in methods}  # [tasks, seeds]
    figure.set_size_inches(7.2, 0.8 + 0.7 * len(tables))
    left, right = figure.subplots(1, 2, sharey=True)
    stability_violins(left, {method: table.mean(0).tolist() for method, table in tables.items()}, "mean score, a point per seed")
    spreads = {method: table.std(1, ddof=1).tolist() for method, table in tables.items()}
    stability_violins(right, spreads, "SD of a task's score over seeds, a point per task")


def draw_unseen(figure: Figure, views: Sequence[View]) -> None:
    """Draw unseen tasks' scores."""
    _bars(figure, views[0], views[0].unseen)


def draw_seen(figure: Figure, views: Sequence[View]) -> None:
    """Draw seen tasks' scores."""
    _bars(figure, views[0], [name for name in views[0].names if name not in views[0].unseen])


def _bars(figure: Figure, view: View, names: Sequence[str]) -> None:
    """Draw a bar per task with its reference and floor, in order of subcategories, their names at the right."""
    found = [record for name in names if (record := view.record_of(name))]
    if not found:
        return
    found.sort(key=lambda r: (r["subcategory"], r["task"]))
    figure.set_size_inches(7.2, 1.1 + ROW * len(found))
    axes, places = figure.subplots(), np.arange(len(found))
    colours = [CONDITION_COLOURS[r["setting"]] for r in found]
    bars = axes.barh(places, [r["score"] for r in found], 0.72, color=colours)
    axes.plot(
        [r["reference"] for r in found], places, "|", color=INK, markersize=8, markeredgewidth=1.6, clip_on=False, label="prompt tuning"
    )
    axes.plot([r["floor"] for r in found], places, "o", color=INK, markersize=3, fillstyle="none", clip_on=False, label="floor")
    for setting in dict.fromkeys(r["setting"] for r in found):
        axes.barh([-9], [0], color=CONDITION_COLOURS[setting], label=TITLES[setting])
    axes.set_yticks(places, [printable(r["task"]) for r in found], fontsize=7)
    for bar, label, record in zip(bars, axes.get_yticklabels(), found, strict=True):
        for artist in (bar, label):
            artist.set_gid(f"task-{view.names.index(record['task'])}")
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("score")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, ncols=4, frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
    _name_groups(axes, [r["subcategory"] for r in found])


def _name_groups(axes: Axes, groups: Sequence[str]) -> None:
    """Write each run of equal groups at the right of its rows, with a thin line before it."""
    starts = [i for i, group in enumerate(groups) if i == 0 or groups[i - 1] != group]
    for first, end in zip(starts, [*starts[1:], len(groups)], strict=True):
        axes.text(1.04, (first + end - 1) / 2, printable(groups[first]), fontsize=7, va="center")
        if first:
            axes.axhline(first - 0.5, color=OTHERS, linewidth=0.4)


def draw_codes(figure: Figure, views: Sequence[View]) -> None:
    """Scatter the intrinsic vectors' first two principal components; the commonest subcategories have a mark of their own."""
    view = views[0]
    names, vectors = view.points
    if len(vectors) < 4 or vectors.shape[1] < 2 or not np.ptp(vectors):
        return
    places, shares = embed(vectors), spectrum(vectors)
    groups = [view.tasks[name]["subcategory"] for name in names]
    common = sorted(sorted(set(groups), key=lambda g: (-groups.count(g), g))[: len(PALETTE)])
    styles = dict(zip(common, zip(PALETTE, SHAPES, strict=True), strict=False))
    figure.set_size_inches(7.2, 5)
    axes = figure.subplots()
    for name, group, (x, y) in zip(names, groups, places, strict=True):
        colour, shape = styles.get(group, (OTHERS, "o"))
        face = "none" if name in view.unseen else colour
        axes.scatter(x, y, s=40, marker=shape, facecolors=face, edgecolors=colour).set_gid(f"task-{view.names.index(name)}")
    tidy(axes, f"component 1 ({100 * shares[0]:.0f} % of the variance)", f"component 2 ({100 * shares[1]:.0f} %)")
    rest = len(set(groups)) - len(styles)
    key = [entry("seen", OTHERS, "o"), entry("unseen", OTHERS, "o", "none")] + [entry(group, *found) for group, found in styles.items()]
    legend(axes, key + ([entry(f"{rest} other subcategories", OTHERS, "o")] if rest else []))


def draw_cosines(figure: Figure, views: Sequence[View]) -> None:
    """Draw the mean cosine between tasks of each two subcategories, like ones together; a task with itself does not count."""
    view = views[0]
    names, vectors = view.points
    groups = sorted({view.tasks[name]["subcategory"] for name in names})
    if len(groups) < 2:
        return
    member = np.array([[view.tasks[name]["subcategory"] == group for name in names] for group in groups], dtype=float)
    cosines, apart = cosine_matrix(vectors), 1 - np.eye(len(names))
    pairs = member @ apart @ member.T
    means = np.divide(member @ (cosines * apart) @ member.T, pairs, out=np.full(pairs.shape, NOWHERE), where=pairs > 0)
    side = max(2.0, ROW * len(groups))
    figure.set_size_inches(side + 2.6, 1.15 * side + 1.2)
    cosine_map(figure.subplots(), means, [group or "none" for group in groups], linkage(means), "mean cosine")


def draw_distances(figure: Figure, views: Sequence[View]) -> None:
    """Draw how much of each unseen task comes back against the distance of its code to the nearest seen one."""
    view = views[0]
    names, vectors = view.points
    found = [(n, record["recovery"]) for n in names if n in view.unseen and (record := view.record_of(n)) and record["recovery"] >= 0]
    seen = vectors[[n not in view.unseen for n in names]]
    if len(found) < 4 or not len(seen):
        return
    distances = nearest_distance(vectors[[names.index(n) for n, _ in found]], seen)
    shares = np.array([share for _, share in found])
    figure.set_size_inches(6, 3.8)
    axes = distance_scatter(figure.subplots(), distances, shares, rank_correlation(distances, shares), [n for n, _ in found])
    for dot, (name, _) in zip(axes.collections, found, strict=True):
        dot.set_gid(f"task-{view.names.index(name)}")


TASKS = "The bar is the score with d tuned numbers, the line that of prompt tuning on the same data, the ring the floor."
DRAWINGS = (
    Drawing(
        "recovery",
        "Recovered share of prompt tuning by setting",
        "E_rel of each setting, with 95 % intervals over tasks; the dashed line is prompt tuning itself. Grey bars are controls;"
        " the purple one is a rival that needs no subspace.",
        draw_recovery,
        together=True,
    ),
    Drawing(
        "growth",
        "What more numbers, tasks or examples bring",
        "Mean over runs, bars from the least to the largest seed; runs on a line are alike in all else. The dashed line is prompt tuning.",
        draw_growth,
        together=True,
    ),
    Drawing(
        "seen-unseen",
        "Seen and unseen tasks",
        "A point per run; on the dashed line unseen tasks come back as well as seen ones do with other data.",
        draw_both,
        together=True,
    ),
    Drawing(
        "angles",
        "Do the runs find the same subspace?",
        "Principal angles between the decoders' tangent spaces at six codes of each run, numbered as in the headline; of two runs with"
        " bands from the least to the largest. Equal spaces are at 0, and grey are random ones."
        " Runs of another d, and decoders with fewer directions than d, are left out; more than four runs are in angles.json.",
        draw_angles,
        together=True,
    ),
    Drawing(
        "stability",
        "How much depends on the seed",
        "The unseen tasks tuned with several seeds in different ways; the bar is the median.",
        draw_stability,
    ),
    Drawing("unseen", "Unseen tasks", f"{TASKS} Tasks are in order of their subcategory.", draw_unseen),
    Drawing("seen", "Seen tasks, with other data where the run has it", f"{TASKS} Tasks are in order of their subcategory.", draw_seen),
    Drawing(
        "codes",
        "Where the tasks lie in the subspace",
        "Intrinsic vectors on their first two principal components, of seen tasks filled, of unseen ones hollow. Point at a task for its"
        " name; its subcategory stays lit.",
        draw_codes,
    ),
    Drawing(
        "cosines",
        "Likeness of subcategories",
        "Mean cosine between the intrinsic vectors of different tasks, by their subcategories, in the order of a tree that joins like"
        " with like; grey where there is no such pair.",
        draw_cosines,
    ),
    Drawing(
        "distances",
        "Do tasks near the seen ones come back better?",
        "Recovery of unseen tasks against the distance of their code to the nearest seen task's; a share above 150 % is drawn there.",
        draw_distances,
    ),
    Drawing(
        "landscape",
        "The loss and the score around a task's numbers",
        "An unseen task's dev rows over a plane of codes that holds its solution and its best starts; the white line is the path of IST.",
        draw_landscape,
    ),
    Drawing(
        "curvature",
        "How sharply the task's examples fix each number",
        "The solution, with error bars from the curvature of the train loss there (Gauss-Newton, prior: the seen tasks' spread).",
        draw_curvature,
    ),
    Drawing(
        "transfer",
        "What a task's numbers do for other tasks",
        "Score of the code of one task (row) on another (column), without any tuning; a task's own code is framed.",
        draw_transfer,
    ),
    Drawing(
        "between",
        "On the way from one task to another",
        "Dev scores of both tasks at codes on the straight line between theirs: to the nearest seen task, and to the farthest.",
        draw_between,
    ),
    Drawing(
        "change",
        "What each number changes in the prompt",
        "How far each vector of the prompt moves by one deviation of the seen tasks' codes along each number, over its length.",
        draw_change,
    ),
)
