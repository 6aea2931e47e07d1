"""The page's figures that compare several runs: views and a bare Figure in.

A function draws no axes where there is nothing to compare.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ipt.analysis.geometry import principal_angles, random_angles
from ipt.analysis.plots.bars import recovery_lines, seen_unseen_scatter
from ipt.analysis.plots.maps import angle_lines
from ipt.analysis.report.views import View, without
from ipt.analysis.spread import Spread, to_json
from ipt.analysis.summaries import angles_table
from ipt.results import BY_NAME

SUBSPACES = 4  # runs whose decoders are compared in one figure


class Measure(NamedTuple):
    """A line of the results: a condition on one group of tasks."""

    condition: str
    group: str

    @property
    def title(self) -> str:
        """The condition, and the group where it is not all tasks."""
        title = BY_NAME[self.condition].title
        if self.group == "all":
            return title
        return f"{title}, {self.group}"


DRAWN_AGAINST_SIZE = (
    Measure("test", "all"),
    Measure("test", "in kind"),
    Measure("test", "out of kind"),
    Measure("train_diff", "all"),
    Measure("mixture_test", "all"),
    Measure("pca_test", "all"),
    Measure("random_test", "all"),
)
SEEN = Measure("train_diff", "all")
UNSEEN = Measure("test", "all")


class RunNumbers(NamedTuple):
    """Two runs by their numbers, counted from 1 in the order of the views; twice the same: one."""

    first: int
    second: int


def draw_growth(figure: Figure, views: Sequence[View]) -> None:
    """Draw recovery against d, seen tasks and shots.

    A panel for each of these that differs between runs which share all else but their seeds.
    """
    panels = {}  # groups of runs, a line each, by axis
    for axis in views[0].sizes:
        groups = groups_that_differ_in(axis, views)
        if groups:
            panels[axis] = groups
    if not panels:
        return

    # panels stand one below the other, each as high as a figure of its own
    figure.set_size_inches(7.2, 3.1 * len(panels))
    all_axes = figure.subplots(len(panels), squeeze=False).flat
    for axes, (axis, groups) in zip(all_axes, panels.items(), strict=True):
        # every size that one of the groups has is a place on the axis
        places = set()
        for group in groups:
            places |= _sizes_of(group, axis)
        x = sorted(places)
        recovery_lines(axes, x, lines=_lines_against(axis, groups, x), label=axis)


def _sizes_of(group: Sequence[View], axis: str) -> set[int]:
    return {view.sizes[axis] for view in group}


def groups_that_differ_in(axis: str, views: Sequence[View]) -> list[list[View]]:
    """Return the groups of runs that differ in this size and in seeds only.

    A size of 0 is unknown; a group whose size takes one value is left out.
    """
    groups: dict[str, list[View]] = {}
    for view in views:
        if view.sizes[axis] == 0:
            continue
        # runs that share all but this size and their seeds have one key
        others = without(view.sizes, axis)
        key = f"{view.shared_settings} {others}"
        groups.setdefault(key, []).append(view)

    # a line needs two places at least
    chosen = []
    for group in groups.values():
        if len(_sizes_of(group, axis)) > 1:
            chosen.append(group)
    return chosen


def _lines_against(
    axis: str,
    groups: Sequence[Sequence[View]],
    places: Sequence[int],
) -> dict[str, np.ndarray]:
    """Return the lines of a panel, name to shares [sizes, runs], without those of no value."""
    # Named by the kind of tasks where that tells groups apart, else by a run of theirs
    first_runs = [group[0] for group in groups]
    names = [view.family for view in first_runs]
    if len(set(names)) < len(names):
        names = [view.label for view in first_runs]

    lines = {}
    for name, group in zip(names, groups, strict=True):
        for measure in DRAWN_AGAINST_SIZE:
            shares = _shares(group, measure, axis=axis, places=places)
            if np.isnan(shares).all():
                continue
            title = measure.title
            # a group alone needs no name
            if len(groups) > 1:
                title = f"{title}, {name}"
            lines[title] = shares
    return lines


def _shares(
    group: Sequence[View],
    measure: Measure,
    axis: str,
    places: Sequence[int],
) -> np.ndarray:
    """Return E_rel [sizes, runs]; NaN where a run has another size or does not have the measure."""
    shares = np.full((len(places), len(group)), math.nan)  # [sizes, runs]
    for i, view in enumerate(group):
        place = places.index(view.sizes[axis])
        share = _share(view, measure)
        if share is not None:
            shares[place, i] = share
    return shares


def _share(view: View, measure: Measure) -> float | None:
    """Return a run's E_rel, None where it does not have the measure."""
    for line in view.lines:
        if Measure(line.setting, line.group) == measure:
            return line.recovery.relative
    return None


def draw_both(figure: Figure, views: Sequence[View]) -> None:
    """Draw each run's recovery of seen tasks with other data against that of unseen ones."""
    seen = []  # a share per run that has both
    unseen = []
    names = []
    for view in views:
        x = _share(view, SEEN)
        y = _share(view, UNSEEN)
        if x is None or y is None:
            continue
        seen.append(x)
        unseen.append(y)
        names.append(f"{view.family}, d = {view.dim}")

    # one point alone compares nothing
    if len(names) < 2:
        return
    figure.set_size_inches(6, 3.6)
    seen_unseen_scatter(figure.subplots(), seen, unseen, groups=names)


def angles_between(views: Sequence[View]) -> dict[RunNumbers, np.ndarray]:
    """Return the principal angles [pairs, d] between tangent spaces of the runs' decoders.

    Of one run: between its own spaces. Runs whose spaces have another shape than those of the first
    run are left out; empty where fewer than two stay.
    """
    shape = views[0].tangents.shape
    # A number is that of the run on the page, whether or not runs before it are left out
    spaces_by_run = {}
    for number, view in enumerate(views, start=1):
        if len(view.tangents) > 1 and view.tangents.shape == shape:
            spaces_by_run[number] = view.tangents
    if len(spaces_by_run) < 2:
        return {}

    angles = {}
    for number, spaces in spaces_by_run.items():
        angles[RunNumbers(number, number)] = _angles_within(spaces)
        for other, other_spaces in spaces_by_run.items():
            if other == number:
                break  # a pair once: the later runs come to this one
            angles[RunNumbers(other, number)] = _angles_across(spaces, other_spaces)
    return angles


def _angles_within(spaces: np.ndarray) -> np.ndarray:
    """Return the angles [pairs, d] between each two of the spaces [S, n * h, d]."""
    angles = []
    for i, space in enumerate(spaces):
        for other in spaces[:i]:
            angles.append(principal_angles(space, other))
    return np.stack(angles)


def _angles_across(spaces: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the angles [pairs, d] between each of the spaces and each of the others."""
    angles = []
    for space in spaces:
        for other in others:
            angles.append(principal_angles(space, other))
    return np.stack(angles)


def draw_angles(figure: Figure, views: Sequence[View]) -> None:
    """Draw the principal angles between the tangent spaces of the first runs' decoders.

    Random subspaces are the control.
    """
    angles = angles_between(views[:SUBSPACES])
    if not angles:
        return

    # first the runs one by one: how far a surface is from flat
    within = {}
    between = {}
    for pair, degrees in angles.items():
        if pair.first == pair.second:
            within[f"within run {pair.first}"] = degrees
        else:
            between[f"runs {pair.first} and {pair.second}"] = degrees

    figure.set_size_inches(7.2, 3.8)
    angle_lines(figure.subplots(), within | between, _chance(views[0]))


def _chance(view: View) -> np.ndarray:
    """Return the angles [draws, d] of random subspaces of the size of a run's."""
    _, size, dim = view.tangents.shape
    return random_angles(dim, size)


def angles_record(views: Sequence[View]) -> dict[str, Any] | None:
    """Return the angles between runs as a record of kind `angles`; None where there are none.

    A row has the spread of each of the d angles over pairs of spaces, in degrees.
    """
    rows = []
    for pair, angles in angles_between(views).items():
        names = [views[pair.first - 1].ist.settings["msf_run"]]
        if pair.second != pair.first:
            names.append(views[pair.second - 1].ist.settings["msf_run"])
        rows.append(_row(names, angles))
    if not rows:
        return None

    # the control comes last, and is of no run
    chance = _chance(views[0])
    rows.append(_row([], chance))

    words = ["ipt", "report"]
    seeds = set()
    for view in views:
        words.append(view.folder.name)
        seeds.add(str(view.ist.settings["seed"]))
    # of the texts, so that digits which are not shown do not count
    text = json.dumps(angles_table({"rows": rows}).rows)
    return {
        "kind": "angles",
        "command": " ".join(words),
        "seed": ", ".join(sorted(seeds)),
        "digest": hashlib.sha256(text.encode()).hexdigest(),
        "rows": rows,
    }


def _row(runs: Sequence[str], angles: np.ndarray) -> dict[str, Any]:
    """Return the row of angles [pairs, d] between runs of these names."""
    spreads = []
    for degrees in angles.T:
        spread = Spread.of(degrees.tolist())
        spreads.append(to_json(spread))
    return {"runs": list(runs), "pairs": len(angles), "angles": spreads}
