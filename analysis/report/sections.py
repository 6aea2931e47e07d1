"""The figures of the page: one entry in `DRAWINGS` each.

A drawing gets views and a bare Figure and reads no file. To add one, write a function that draws on
a Figure and add an entry; where a run does not have what it shows, it draws no axes, and the page
has no such figure.

An artist with the gid `task-3` is the fourth of the view's tasks: the page shows the task's name,
subcategory and recovery there.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ipt.analysis.plots.bars import recovery_bars, stability_violins
from ipt.analysis.plots.style import CONDITION_COLOURS, INK, ROW_HEIGHT, printable
from ipt.analysis.report.comparison import draw_angles, draw_both, draw_growth
from ipt.analysis.report.landscape import (
    draw_between,
    draw_change,
    draw_curvature,
    draw_landscape,
    draw_transfer,
)
from ipt.analysis.report.vectors import OTHERS, draw_codes, draw_cosines, draw_distances
from ipt.analysis.report.views import ScoredTask, View
from ipt.results import BY_NAME, CONDITIONS

UNDEFINED = (math.nan, math.nan)  # the interval of a condition that a run does not have


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure of the page."""

    key: str  # leads the names of its files
    title: str  # above the figure
    caption: str  # below it; a screen reader says both
    draw: Callable[[Figure, Sequence[View]], None]  # draws no axes where there is nothing to show
    together: bool = False  # one figure for all runs, instead of one for each


def draw_recovery(figure: Figure, views: Sequence[View]) -> None:
    """Draw each condition's recovery with its interval, a group of bars per run."""
    values: dict[str, list[float]] = {}  # a share per run, by condition
    intervals: dict[str, list[tuple[float, float]]] = {}
    for condition in CONDITIONS:
        # a condition that no run has takes no room
        if not any(condition.name in view.overall for view in views):
            continue
        shares = values.setdefault(condition.name, [])
        ends = intervals.setdefault(condition.name, [])
        for view in views:
            line = view.overall.get(condition.name)
            shares.append(math.nan if line is None else line.recovery.relative)
            ends.append(UNDEFINED if line is None else line.recovery.interval)

    labels = [printable(view.label, 40) for view in views]
    titles = {condition.name: condition.title for condition in CONDITIONS}
    # bars of all conditions stay wide enough for their numbers
    figure.set_size_inches(max(7.2, 4.4 * len(views)), 4.4)
    recovery_bars(
        figure.subplots(),
        values=values,
        intervals=intervals,
        labels=labels,
        titles=titles,
    )


def draw_stability(figure: Figure, views: Sequence[View]) -> None:
    """Draw, for each method of `ipt stability`, how much scores depend on the seed.

    Left the mean score of each seed, right how far each task's scores lie apart.
    """
    stability = views[0].stability
    if stability is None:
        return

    means = {}  # a mean per seed, by method
    spreads = {}  # a deviation per task, by method
    for method in stability.methods:
        by_task = stability.by_seed[method]
        scores = np.array(list(by_task.values()))  # [tasks, seeds]
        means[method] = scores.mean(0).tolist()
        # of a sample, as in the table: few seeds stand for all
        spreads[method] = scores.std(1, ddof=1).tolist()

    figure.set_size_inches(7.2, 0.8 + 0.7 * len(means))
    # one row a method across both panels
    left, right = figure.subplots(1, 2, sharey=True)
    stability_violins(left, means, "mean score, a point per seed")
    stability_violins(right, spreads, "SD of a task's score over seeds, a point per task")


def draw_unseen(figure: Figure, views: Sequence[View]) -> None:
    """Draw unseen tasks' scores."""
    view = views[0]
    _draw_tasks(figure, view, view.unseen)


def draw_seen(figure: Figure, views: Sequence[View]) -> None:
    """Draw seen tasks' scores."""
    view = views[0]
    _draw_tasks(figure, view, view.seen)


def _draw_tasks(figure: Figure, view: View, names: Sequence[str]) -> None:
    """Draw a bar per task with its reference and floor, in order of subcategories."""
    tasks = view.scored_tasks(names)
    if not tasks:
        return
    tasks.sort(key=lambda task: (task.subcategory, task.name))

    figure.set_size_inches(7.2, 1.1 + ROW_HEIGHT * len(tasks))
    axes = figure.subplots()
    _score_bars(axes, view, tasks)

    # the first task on top; the bars added for the legend are outside
    axes.set_ylim(len(tasks) - 0.4, -0.6)
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("score")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        fontsize=8,
        ncols=4,
        frameon=False,
        loc="lower left",
        bbox_to_anchor=(0, 1),
    )
    _name_groups(axes, [task.subcategory for task in tasks])


def _score_bars(axes: Axes, view: View, tasks: Sequence[ScoredTask]) -> None:
    """Draw the bars with their marks, a row a task, and name the rows."""
    scores = []
    references = []
    floors = []
    colours = []
    names = []
    for task in tasks:
        scores.append(task.score)
        references.append(task.reference)
        floors.append(task.floor)
        colours.append(CONDITION_COLOURS[task.condition])
        names.append(printable(task.name))

    places = np.arange(len(tasks))
    bars = axes.barh(places, scores, 0.72, color=colours)
    # marks at the edge are drawn whole
    axes.plot(
        references,
        places,
        "|",
        color=INK,
        markersize=8,
        markeredgewidth=1.6,
        clip_on=False,
        label="prompt tuning",
    )
    axes.plot(
        floors,
        places,
        "o",
        color=INK,
        markersize=3,
        fillstyle="none",
        clip_on=False,
        label="floor",
    )

    # One bar of each colour where it is not seen, for the legend
    conditions = [task.condition for task in tasks]
    for condition in dict.fromkeys(conditions):
        axes.barh(
            [-9],
            [0],
            color=CONDITION_COLOURS[condition],
            label=BY_NAME[condition].title,
        )

    axes.set_yticks(places, names, fontsize=7)
    # by its gid the page finds the task of a bar
    for bar, label, task in zip(bars, axes.get_yticklabels(), tasks, strict=True):
        gid = f"task-{view.names.index(task.name)}"
        bar.set_gid(gid)
        label.set_gid(gid)


def _name_groups(axes: Axes, groups: Sequence[str]) -> None:
    """Write each run of equal groups at the right of its rows, with a thin line before it."""
    starts = []  # rows before which a new group begins
    for i, group in enumerate(groups):
        if i == 0 or groups[i - 1] != group:
            starts.append(i)
    ends = [*starts[1:], len(groups)]

    for first, end in zip(starts, ends, strict=True):
        centre = (first + end - 1) / 2
        axes.text(
            1.04,
            centre,
            printable(groups[first]),
            fontsize=7,
            va="center",
        )
        if first > 0:
            axes.axhline(first - 0.5, color=OTHERS.colour, linewidth=0.4)


# What every figure of single tasks shows
TASKS = (
    "The bar is the score with d tuned numbers, the line that of prompt tuning on the same data,"
    " the ring the floor. Tasks are in order of their subcategory."
)

DRAWINGS = (
    # ------------------------------------------------------------ all runs in one figure
    Drawing(
        key="recovery",
        title="Recovered share of prompt tuning by setting",
        caption=(
            "E_rel of each setting, with 95 % intervals over tasks; the dashed line is prompt"
            " tuning itself. Grey bars are controls; the purple one is a mixture of seen prompts,"
            " which needs no subspace."
        ),
        draw=draw_recovery,
        together=True,
    ),
    Drawing(
        key="growth",
        title="The effect of more dimensions, seen tasks or examples",
        caption=(
            "Mean over runs, bars from the least to the largest seed; runs on a line share all"
            " other settings. The dashed line is prompt tuning."
        ),
        draw=draw_growth,
        together=True,
    ),
    Drawing(
        key="seen-unseen",
        title="Seen and unseen tasks",
        caption=(
            "A point per run; on the dashed line unseen tasks are recovered as well as seen tasks"
            " with other data."
        ),
        draw=draw_both,
        together=True,
    ),
    Drawing(
        key="angles",
        title="Do the runs find the same subspace?",
        caption=(
            "Principal angles between the decoders' tangent spaces at six codes of each run,"
            " numbered as in the headline; of two runs with bands from the least to the largest."
            " Equal spaces have angles of 0; random spaces are grey. Runs of another d, and"
            " decoders with fewer directions than d, are left out; angles.json has more than four"
            " runs."
        ),
        draw=draw_angles,
        together=True,
    ),
    # ------------------------------------------------------------ one figure a run
    Drawing(
        key="stability",
        title="How much depends on the seed",
        caption=(
            "The unseen tasks tuned with several seeds in different ways; the bar is the median."
        ),
        draw=draw_stability,
    ),
    Drawing(
        key="unseen",
        title="Unseen tasks",
        caption=TASKS,
        draw=draw_unseen,
    ),
    Drawing(
        key="seen",
        title="Seen tasks, with other data where the run has it",
        caption=TASKS,
        draw=draw_seen,
    ),
    # ------------------------------------------------------------ the intrinsic vectors of a run
    Drawing(
        key="codes",
        title="Where the tasks lie in the subspace",
        caption=(
            "Intrinsic vectors on their first two principal components, of seen tasks filled (as"
            " MSF encodes them where IST tuned none), of unseen ones hollow. Point at a task to see"
            " its name and highlight its subcategory."
        ),
        draw=draw_codes,
    ),
    Drawing(
        key="cosines",
        title="Similarity of subcategories",
        caption=(
            "Mean cosine between the intrinsic vectors of different tasks, by their subcategories,"
            " in the order of a tree that joins similar ones; grey where there is no such pair."
        ),
        draw=draw_cosines,
    ),
    Drawing(
        key="distances",
        title="Are tasks near the seen ones recovered better?",
        caption=(
            "Recovery of unseen tasks against the distance of their code to the nearest seen"
            " task's; a share above 150 % is drawn at 150 %."
        ),
        draw=draw_distances,
    ),
    # ------------------------------------------------------------ what `ipt probe` wrote
    Drawing(
        key="landscape",
        title="The loss and the score around a task's numbers",
        caption=(
            "An unseen task's dev rows over a plane of codes that holds its solution and its best"
            " starts; the white line is the path of IST."
        ),
        draw=draw_landscape,
    ),
    Drawing(
        key="curvature",
        title="How precisely the task's examples determine each number",
        caption=(
            "The solution, with error bars from the curvature of the train loss there"
            " (Gauss-Newton, prior: the seen tasks' spread)."
        ),
        draw=draw_curvature,
    ),
    Drawing(
        key="transfer",
        title="What a task's numbers score on other tasks",
        caption=(
            "Score of the code of one task (row) on another (column), without any tuning; a"
            " task's own code is framed."
        ),
        draw=draw_transfer,
    ),
    Drawing(
        key="between",
        title="Between two tasks",
        caption=(
            "Dev scores of both tasks at codes on the straight line between theirs: to the nearest"
            " seen task, and to the farthest."
        ),
        draw=draw_between,
    ),
    Drawing(
        key="change",
        title="What each number changes in the prompt",
        caption=(
            "How far each vector of the prompt moves by one deviation of the seen tasks' codes"
            " along each number, over its length."
        ),
        draw=draw_change,
    ),
)
