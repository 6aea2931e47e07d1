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

from ipt.analysis.plots.bars import stability_violins
from ipt.analysis.plots.style import (
    GUIDE,
    INK,
    LARGEST_SHARE,
    MARKERS,
    RECOVERY,
    LegendEntry,
    entry,
    legend,
    printable,
    tidy,
)
from ipt.analysis.report.colours import (
    BLUE,
    FAINT,
    GREEN,
    KINDS,
    NO_KIND,
    PALETTE,
    PURPLE,
)
from ipt.analysis.report.comparison import draw_angles, draw_both, draw_growth
from ipt.analysis.report.landscape import (
    draw_between,
    draw_change,
    draw_curvature,
    draw_landscape,
    draw_transfer,
)
from ipt.analysis.report.losses import draw_loss
from ipt.analysis.report.vectors import WIDTH, draw_codes, draw_cosines, draw_distances
from ipt.analysis.report.views import ScoredTask, View
from ipt.recovery import Recovery
from ipt.results import CONDITIONS, Condition


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure of the page."""

    key: str  # leads the names of its files
    title: str  # above the figure
    caption: str  # below it; a screen reader says both
    draw: Callable[[Figure, Sequence[View]], None]  # draws no axes where there is nothing to show
    together: bool = False  # one figure for all runs, instead of one for each
    section: str = "map"  # of the page
    data: str = ""  # the file that has its numbers


def draw_recovery(figure: Figure, views: Sequence[View]) -> None:
    """Draw each condition's recovery as a dot on its interval, a row a condition, a mark a run."""
    shown = []
    for condition in CONDITIONS:
        # a condition that no run has takes no room
        if any(condition.name in view.overall for view in views):
            shown.append(condition)

    figure.set_size_inches(WIDTH, 1.1 + 0.24 * len(shown) * max(1, 0.75 * len(views)))
    axes = figure.subplots()
    for y, condition in enumerate(shown):
        for i, view in enumerate(views):
            line = view.overall.get(condition.name)
            if line is None or math.isnan(line.recovery.relative):
                continue
            place = y + 0.7 * ((i + 0.5) / len(views) - 0.5)
            colour = _colour_of(condition) if len(views) == 1 else PALETTE[i % len(PALETTE)]
            _interval_dot(axes, line.recovery, place, colour=colour, marker=MARKERS[i % 9])

    axes.axvline(100, **GUIDE, zorder=0)
    axes.set_yticks(range(len(shown)), [condition.title for condition in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlim(left=0)
    tidy(axes, RECOVERY, "")
    if len(views) > 1:
        marks = []
        for i, view in enumerate(views):
            colour, marker = PALETTE[i % len(PALETTE)], MARKERS[i % 9]
            marks.append(entry(printable(view.label, 40), colour, marker))
        legend(axes, marks, loc="lower left", bbox_to_anchor=(0, 1))


def _colour_of(condition: Condition) -> str:
    """Return blue for tuned numbers of unseen tasks, green for seen ones, grey for controls."""
    if condition.source in ("mixture", "choice"):
        return PURPLE
    if condition.is_control:
        return FAINT
    return GREEN if condition.tasks == "seen" else BLUE


def _interval_dot(
    axes: Axes,
    figures: Recovery,
    place: float,
    colour: str,
    marker: str,
) -> None:
    """Draw a share on its interval, and write it above, where no line goes through it."""
    share = 100 * figures.relative
    low, high = figures.shown_interval
    if not math.isnan(low):
        axes.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=1.6)
    axes.plot(share, place, marker, color=colour, markersize=6)
    axes.annotate(
        f"{share:.0f}",
        (1.01, place),
        xycoords=("axes fraction", "data"),
        va="center",
        fontweight="bold",
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
    """Draw each unseen task from its floor over its score to its reference, the best on top."""
    view = views[0]
    tasks = view.scored_tasks(view.unseen)
    if not tasks:
        return
    # tasks without a share come last
    tasks.sort(key=lambda task: (math.isnan(task.recovery), -task.recovery, task.name))

    figure.set_size_inches(WIDTH, 1.2 + 0.2 * len(tasks))
    axes = figure.subplots()
    for place, task in enumerate(tasks):
        ends = [task.floor, task.reference]
        axes.plot(ends, [place, place], color=FAINT, linewidth=1.2, zorder=1, clip_on=False)
        axes.plot(task.reference, place, "|", color=INK, markersize=10, clip_on=False)
        axes.plot(task.floor, place, "o", color=INK, markersize=5, fillstyle="none", clip_on=False)
        colour, marker = view.kind_style(task.name)
        point = axes.scatter(task.score, place, s=60, marker=marker, color=colour, zorder=3)
        point.set_clip_on(False)
        # by its gid the page finds the task
        point.set_gid(f"task-{view.names.index(task.name)}")
        share = "–" if math.isnan(task.recovery) else f"{100 * task.recovery:.0f} %"
        axes.text(1.05, place, share, va="center", ha="left", transform=axes.get_yaxis_transform())

    names = [printable(task.name) for task in tasks]
    axes.set_yticks(range(len(tasks)), names)
    axes.set_ylim(len(tasks) - 0.4, -0.6)
    axes.set_xlim(0, 1.02)
    tidy(axes, "score", "")
    marks = [*_kind_entries(view, names=[task.name for task in tasks])]
    marks.append(entry("floor", INK, "o", face="none"))
    marks.append(entry("prompt tuning", INK, "|"))
    legend(axes, marks, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(marks))


def _kind_entries(view: View, names: Sequence[str]) -> list[LegendEntry]:
    """Return the legend of the kinds that some of the tasks are of."""
    if not view.has_groups:
        return [entry("score", *NO_KIND)]
    kinds = {view.kind(name) for name in names}
    return [entry(kind, *style) for kind, style in KINDS.items() if kind in kinds]


def draw_seen(figure: Figure, views: Sequence[View]) -> None:
    """Draw the recovery of each seen task as a dot, a strip for each kind of tasks."""
    view = views[0]
    tasks = view.scored_tasks(view.seen)
    by_kind: dict[str, list[ScoredTask]] = {}
    for task in tasks:
        if not math.isnan(task.recovery):
            by_kind.setdefault(view.kind(task.name), []).append(task)
    if not by_kind:
        return
    kinds = [kind for kind in (*KINDS, "") if kind in by_kind]

    figure.set_size_inches(WIDTH, 0.9 + 0.7 * len(kinds))
    axes = figure.subplots()
    # moved apart, the same way each time a figure is made
    generator = np.random.default_rng(0)
    for row, kind in enumerate(kinds):
        colour, marker = KINDS.get(kind, NO_KIND)
        shares = [100 * task.recovery for task in by_kind[kind]]
        places = row + generator.uniform(-0.3, 0.3, len(shares))
        for task, share, place in zip(by_kind[kind], shares, places, strict=True):
            is_cut = share > LARGEST_SHARE
            point = axes.scatter(
                min(share, LARGEST_SHARE),
                place,
                s=26,
                marker=">" if is_cut else marker,
                facecolors="none",
                edgecolors=colour,
                clip_on=False,
            )
            point.set_gid(f"task-{view.names.index(task.name)}")
        middle = min(float(np.median(shares)), LARGEST_SHARE)
        axes.plot([middle, middle], [row - 0.38, row + 0.38], color=INK, linewidth=2)

    labels = [f"{kind or 'seen tasks'} ({len(by_kind[kind])})" for kind in kinds]
    axes.set_yticks(range(len(kinds)), labels)
    axes.set_ylim(len(kinds) - 0.5, -0.5)
    axes.axvline(100, **GUIDE, zorder=0)
    axes.set_xlim(right=LARGEST_SHARE + 2)
    tidy(axes, RECOVERY, "")


DRAWINGS = (
    # ------------------------------------------------------------ all runs in one figure
    Drawing(
        key="recovery",
        title="Recovered share of prompt tuning by setting",
        caption=(
            "E_rel of each setting, with 95 % intervals over tasks; the dashed line is prompt"
            " tuning itself. Of one run green is of seen tasks, blue of unseen ones, grey are"
            " controls; purple is a mixture of seen prompts, which needs no subspace."
        ),
        draw=draw_recovery,
        together=True,
        section="where",
        data="settings.csv",
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
        section="where",
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
        section="where",
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
        section="where",
    ),
    Drawing(
        key="unseen",
        title="Unseen tasks",
        caption=(
            "A task a row, from its floor (ring) to prompt tuning on the same data (line); the mark"
            " between is the score with d tuned numbers, the number its share of prompt tuning."
        ),
        draw=draw_unseen,
        section="where",
        data="tasks.csv",
    ),
    Drawing(
        key="seen",
        title="Seen tasks, with other data where the run has it",
        caption=(
            "A mark a task; the line is the median, the dashed one prompt tuning itself. Shares"
            " above 150 % are drawn there."
        ),
        draw=draw_seen,
        section="where",
        data="tasks.csv",
    ),
    # ------------------------------------------------------------ the intrinsic vectors of a run
    Drawing(
        key="codes",
        title="Where the tasks lie in the subspace",
        caption=(
            "Intrinsic vectors on their first two principal components; seen tasks are small and"
            " grey (as MSF encodes them where IST tuned none), unseen ones have a line to the seen"
            " task that is nearest in all d directions."
        ),
        draw=draw_codes,
    ),
    Drawing(
        key="cosines",
        title="Similarity of subcategories",
        caption=(
            "Mean cosine between the intrinsic vectors of different tasks, by their subcategories"
            " of three tasks or more, in the order of a tree that joins similar ones. The title"
            " has the mean within subcategories, and with their names shuffled as a control."
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
        section="where",
    ),
    # ------------------------------------------------------------ what `ipt probe` wrote
    Drawing(
        key="landscape",
        title="The loss and the score around a task's numbers",
        caption=(
            "An unseen task's dev rows over a plane of codes that holds its solution and its best"
            " starts; the white line is the path of IST. Bright is good in both."
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
    # ------------------------------------------------------------ what the stages wrote
    Drawing(
        key="loss",
        title="Loss while it was made",
        caption=(
            "Mean over the jobs of a stage that still ran at a step; the band holds eight of ten"
            " jobs. Train loss where the run has it."
        ),
        draw=draw_loss,
        section="loss",
    ),
)
