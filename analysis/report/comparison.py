"""The page's figures that compare several runs: views and a bare Figure in; no axes where there is nothing to compare."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ipt.analysis.geometry import principal_angles, random_angles
from ipt.analysis.plots.bars import recovery_lines, seen_unseen_scatter
from ipt.analysis.plots.maps import angle_lines
from ipt.analysis.report.views import NOWHERE, View
from ipt.analysis.scores import TITLES
from ipt.analysis.spread import Spread, to_json
from ipt.analysis.summaries import angles_table

GROWN = (
    ("test", "all"), ("test", "in kind"), ("test", "out of kind"), ("train_diff", "all"), ("mixture_test", "all"), ("pca_test", "all"),
    ("random_test", "all"),
)  # fmt: skip
SPACES = 4  # runs whose decoders are compared in one figure


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
    seen_unseen_scatter(figure.subplots(), seen, unseen, [f"{v.family}, d = {v.results[-1].dim}" for v in drawn])


def angles_between(views: Sequence[View]) -> dict[tuple[int, int], np.ndarray]:
    """Return the principal angles [pairs, d] between tangent spaces of runs' decoders, by the numbers of two runs, or twice that of one.

    Runs are numbered from 1 in the order of the views. Empty where fewer than two have such spaces of one shape.
    """
    shape = views[0].tangents.shape
    there = [(i, v.tangents) for i, v in enumerate(views, 1) if len(v.tangents) > 1 and v.tangents.shape == shape]
    found = {}
    for k, (number, spaces) in enumerate(there if len(there) > 1 else []):
        found[number, number] = np.stack([principal_angles(a, b) for j, a in enumerate(spaces) for b in spaces[:j]])
        for other, theirs in there[:k]:
            found[other, number] = np.stack([principal_angles(a, b) for a in spaces for b in theirs])
    return found


def draw_angles(figure: Figure, views: Sequence[View]) -> None:
    """Draw the principal angles between the tangent spaces of the first runs' decoders against random subspaces."""
    found = angles_between(views[:SPACES])
    if found:
        figure.set_size_inches(7.2, 3.8)
        within = {f"within run {i}": angles for (i, j), angles in found.items() if i == j}
        named = within | {f"runs {i} and {j}": angles for (i, j), angles in found.items() if i != j}
        angle_lines(figure.subplots(), named, random_angles(views[0].tangents.shape[2], views[0].tangents.shape[1]))


def angles_record(views: Sequence[View]) -> dict[str, Any] | None:
    """Return the angles between runs as a table with its command, mean (least … largest) in degrees; None where there are none."""
    rows = []
    for (i, j), angles in angles_between(views).items():
        names = [views[k - 1].settings[1]["msf_run"] for k in dict.fromkeys((i, j))]
        rows.append({"runs": names, "pairs": len(angles), "angles": [to_json(Spread.of(of_all.tolist())) for of_all in angles.T]})
    if not rows:
        return None
    size, dim = views[0].tangents.shape[1:]
    chance = random_angles(dim, size)
    rows.append({"runs": [], "pairs": len(chance), "angles": [to_json(Spread.of(of_all.tolist())) for of_all in chance.T]})
    return {
        "kind": "angles",
        "command": f"ipt report {' '.join(view.folder.name for view in views)}",
        "seed": ", ".join(sorted({str(view.settings[1]["seed"]) for view in views})),
        "digest": hashlib.sha256(json.dumps(angles_table({"rows": rows}).rows).encode()).hexdigest(),
        "rows": rows,
    }
