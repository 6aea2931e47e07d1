"""The figures of the page: one entry in `DRAWINGS` each. A drawing gets views and a bare Figure and reads no file.

To add one, write a function that draws on a Figure and add an entry; where a run lacks what it shows, it draws no axes and is left
out. An artist with the gid `task-3` is the fourth of the view's tasks: the page shows the task's name, subcategory and recovery there.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ipt.analysis.figures import INK, SETTING_COLOURS, printable, recovery_bars, recovery_lines, seen_unseen_scatter, stability_violins
from ipt.analysis.geometry import (
    cosine_matrix,
    embed,
    linkage,
    nearest_distance,
    principal_angles,
    random_angles,
    rank_correlation,
    spectrum,
)
from ipt.analysis.maps import angle_lines, cosine_map, distance_scatter
from ipt.analysis.probed import ROW, draw_between, draw_change, draw_curvature, draw_landscape, draw_transfer
from ipt.analysis.scores import TITLES
from ipt.analysis.views import NOWHERE, View

# at least 3 : 1 on white and on the page's dark ground
PALETTE = ("#2a78c2", "#d1352b", "#2b9348", "#9a5cc9", "#c26a12", "#d6478f", "#0f8f9c", "#857a00", "#5b6ee1", "#5f9e1f")
OTHERS = "#8b9097"
GROWN = (("test", "all"), ("test", "in kind"), ("test", "out of kind"), ("train_diff", "all"), ("pca_test", "all"), ("random_test", "all"))
SPACES = 4  # runs whose decoders are compared in one figure


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


def draw_growth(figure: Figure, views: Sequence[View]) -> None:
    """Draw recovery against d, seen tasks and shots: a panel for each that differs between runs alike in all else but their seeds."""
    panels = [(axis, groups) for axis in views[0].sizes if (groups := _grown(views, axis))]
    if not panels:
        return
    figure.set_size_inches(7.2, 3.1 * len(panels))
    for axes, (axis, groups) in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
        places = sorted({view.sizes[axis] for group in groups for view in group})
        names = [group[0].family for group in groups]
        names = names if len(set(names)) == len(names) else [group[0].label for group in groups]
        found = {
            ", ".join([TITLES[shown[0]], *([shown[1]] if shown[1] != "all" else []), *([name] if len(groups) > 1 else [])]): table
            for name, group in zip(names, groups, strict=True)
            for shown in GROWN
            if not np.isnan(table := _shares(group, shown, axis, places)).all()
        }
        recovery_lines(axes, places, found, axis)


def _grown(views: Sequence[View], axis: str) -> list[list[View]]:
    """Return the groups of runs that differ in this size and in seeds only, where the size takes several values."""
    groups: dict[str, list[View]] = {}
    for view in views:
        if view.sizes[axis]:
            rest = sorted((k, v) for k, v in view.sizes.items() if k != axis)
            groups.setdefault(f"{view.kin} {rest}", []).append(view)
    return [group for group in groups.values() if len({view.sizes[axis] for view in group}) > 1]


def _shares(group: Sequence[View], shown: tuple[str, str], axis: str, places: Sequence[int]) -> np.ndarray:
    """Return E_rel in a setting and group of tasks, [sizes, runs]; NaN where a run has another size or lacks them."""
    found = np.full((len(places), len(group)), NOWHERE)
    for i, view in enumerate(group):
        for line in view.lines:
            if (line.setting, line.group) == shown:
                found[places.index(view.sizes[axis]), i] = line.recovery.relative
    return found


def draw_both(figure: Figure, views: Sequence[View]) -> None:
    """Draw each run's recovery of seen tasks with other data against that of unseen ones."""
    found = [{line.setting: line.recovery.relative for line in view.lines if line.group == "all"} for view in views]
    pairs = [(each["train_diff"], each["test"], view) for each, view in zip(found, views, strict=True) if {"train_diff", "test"} <= {*each}]
    if len(pairs) < 2:
        return
    figure.set_size_inches(6, 3.6)
    seen, unseen, drawn = zip(*pairs, strict=True)
    seen_unseen_scatter(figure.subplots(), seen, unseen, [f"{v.family}, d = {v.results[-1]['dim']}" for v in drawn])


def angles_between(views: Sequence[View]) -> dict[str, np.ndarray]:
    """Return the principal angles [pairs, d] between tangent spaces of runs' decoders, within each run and between each two.

    Empty where fewer than two runs have such spaces of one shape; runs are numbered from 1 in the order of the views.
    """
    shape = views[0].tangents.shape
    there = [(i, v.tangents) for i, v in enumerate(views, 1) if len(v.tangents) > 1 and v.tangents.shape == shape]
    found = {}
    for k, (number, spaces) in enumerate(there if len(there) > 1 else []):
        found[f"within run {number}"] = np.stack([principal_angles(a, b) for j, a in enumerate(spaces) for b in spaces[:j]])
        for other, theirs in there[:k]:
            found[f"runs {other} and {number}"] = np.stack([principal_angles(a, b) for a in spaces for b in theirs])
    return found


def draw_angles(figure: Figure, views: Sequence[View]) -> None:
    """Draw the principal angles between the tangent spaces of the first runs' decoders against random subspaces."""
    found = angles_between(views[:SPACES])
    if found:
        figure.set_size_inches(7.2, 3.8)
        angle_lines(figure.subplots(), found, random_angles(views[0].tangents.shape[2], views[0].tangents.shape[1]))


def draw_stability(figure: Figure, views: Sequence[View]) -> None:
    """Draw, for each method of `ipt stability`, the seeds' mean scores and how much each task's score depends on the seed."""
    found = views[0].stability
    if not found:
        return
    tables = {method: np.array([*found["by_seed"][method].values()]) for method, *_ in found["rows"]}  # [tasks, seeds]
    figure.set_size_inches(7.2, 2.9)
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
    colours = [SETTING_COLOURS[r["setting"]] for r in found]
    bars = axes.barh(places, [r["score"] for r in found], 0.72, color=colours)
    axes.plot(
        [r["reference"] for r in found], places, "|", color=INK, markersize=8, markeredgewidth=1.6, clip_on=False, label="prompt tuning"
    )
    axes.plot([r["floor"] for r in found], places, "o", color=INK, markersize=3, fillstyle="none", clip_on=False, label="floor")
    for setting in dict.fromkeys(r["setting"] for r in found):
        axes.barh([-9], [0], color=SETTING_COLOURS[setting], label=TITLES[setting])
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
    """Scatter the intrinsic vectors' first two principal components; the commonest subcategories have a colour."""
    view = views[0]
    names, vectors = view.points
    if len(vectors) < 4 or vectors.shape[1] < 2 or not np.ptp(vectors):
        return
    places, shares = embed(vectors), spectrum(vectors)
    colours = _subcategory_colours([view.tasks[name]["subcategory"] for name in names])
    figure.set_size_inches(7.2, 5)
    axes = figure.subplots()
    for name, (x, y) in zip(names, places, strict=True):
        colour, unseen = colours.get(view.tasks[name]["subcategory"], OTHERS), name in view.unseen
        dot = axes.scatter(x, y, s=52 if unseen else 30, marker="D" if unseen else "o", color=colour, edgecolors=INK, linewidths=0.5)
        dot.set_gid(f"task-{view.names.index(name)}")
    axes.set_xlabel(f"component 1 ({100 * shares[0]:.0f} % of the variance)")
    axes.set_ylabel(f"component 2 ({100 * shares[1]:.0f} %)")
    axes.spines[["top", "right"]].set_visible(False)
    rest = len({view.tasks[name]["subcategory"] for name in names}) - len(colours)
    key = [_key("o", "none", "seen"), _key("D", "none", "unseen"), *(_key("o", c, printable(g, 22)) for g, c in colours.items())]
    key += [_key("o", OTHERS, f"{rest} other subcategories")] if rest else []
    axes.legend(handles=key, fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def _key(marker: str, colour: str, text: str) -> Line2D:
    return Line2D([], [], marker=marker, linestyle="none", markerfacecolor=colour, markeredgecolor=INK, markeredgewidth=0.5, label=text)


def _subcategory_colours(groups: Sequence[str]) -> dict[str, str]:
    """Return a colour for each of the commonest subcategories, in alphabetical order."""
    common = sorted(sorted(set(groups), key=lambda g: (-Counter(groups)[g], g))[: len(PALETTE)])
    return dict(zip(common, PALETTE, strict=False))


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
    distance_scatter(figure.subplots(), distances, shares, rank_correlation(distances, shares), [n for n, _ in found])


TASKS = "The bar is the score with d tuned numbers, the line that of prompt tuning on the same data, the ring the floor."
DRAWINGS = (
    Drawing(
        "recovery",
        "Recovered share of prompt tuning by setting",
        "E_rel of each setting, with 95 % intervals over tasks; the dashed line is prompt tuning itself. Grey bars are controls.",
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
        "Principal angles between the decoders' tangent spaces at six codes of each run, numbered as in the headline; bands from the"
        " least to the largest. Equal spaces are at 0, and grey are random ones."
        " Runs of another d, and decoders with fewer directions than d, are left out; more than four runs are in angles.csv.",
        draw_angles,
        together=True,
    ),
    Drawing(
        "stability",
        "How much depends on the seed",
        "The unseen tasks tuned with several seeds in three ways; the bar is the median.",
        draw_stability,
    ),
    Drawing("unseen", "Unseen tasks", f"{TASKS} Tasks are in order of their subcategory.", draw_unseen),
    Drawing("seen", "Seen tasks, with other data where the run has it", f"{TASKS} Tasks are in order of their subcategory.", draw_seen),
    Drawing(
        "codes",
        "Where the tasks lie in the subspace",
        "Intrinsic vectors on their first two principal components. Point at a task for its name; its subcategory stays lit.",
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
