"""Figures: arrays in, Axes out. Nothing here reads a file."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

SETTING_COLOURS = {
    "train_msf": "#1b6ca8", "test_msf": "#7fb3d5", "train_same": "#1e8449", "train_diff": "#52be80", "test": "#d68910",
    "shared": "#c8cccf", "mean_code": "#b3b8bc", "best_code": "#989da1", "random_test": "#7b8186", "pca_test": "#4a4f54",
}  # fmt: skip


def recovery_bars(
    axes: Axes,
    values: Mapping[str, Sequence[float]],
    intervals: Mapping[str, Sequence[tuple[float, float]]],
    labels: Sequence[str],
    titles: Mapping[str, str],
) -> Axes:
    """Draw recovery in each setting, a group of bars per label (a split), with intervals as error bars.

    values: setting to one share per label (1 = the reference; NaN draws nothing); intervals: the same with (low, high).
    """
    width = 0.8 / len(values)
    places = np.arange(len(labels), dtype=float)
    for i, (setting, shares) in enumerate(values.items()):
        centre = places - 0.4 + width * (i + 0.5)
        heights = 100 * np.asarray(shares, dtype=float)
        ends = 100 * np.asarray(intervals[setting], dtype=float)
        errors = np.clip(np.stack([heights - ends[:, 0], ends[:, 1] - heights]), 0, None)
        lines = {"elinewidth": 0.9, "capsize": 2, "ecolor": "#333333"}
        axes.bar(
            centre, heights, width * 0.92, yerr=errors, label=titles[setting], color=SETTING_COLOURS[setting],
            error_kw=lines, edgecolor="#333333", linewidth=0.5,
        )  # fmt: skip
        for x, height, top in zip(centre, heights, np.fmax(heights, ends[:, 1]), strict=True):
            if height == height:
                axes.annotate(f"{height:.0f}", (x, top + 1.5), ha="center", va="bottom", fontsize=8, fontweight="bold")
    axes.axhline(100, color="#333333", linewidth=0.8, linestyle="--", zorder=0)
    axes.set_xticks(places, labels)
    axes.set_ylabel("recovered share of prompt tuning, E_rel (%)")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, ncols=3, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    return axes


def codes_scatter(axes: Axes, points: np.ndarray, groups: Sequence[str], names: Sequence[str] | None = None) -> Axes:
    """Scatter 2-D points [N, 2], one colour per group; names label the points where given."""
    palette = dict(zip(sorted(set(groups)), _colours(len(set(groups))), strict=True))
    for group, colour in palette.items():
        chosen = [i for i, g in enumerate(groups) if g == group]
        axes.scatter(points[chosen, 0], points[chosen, 1], s=22, color=colour, label=group, alpha=0.85, linewidths=0)
    for point, name in zip(points, names or (), strict=bool(names)):
        axes.annotate(name, tuple(point), fontsize=6, xytext=(2, 2), textcoords="offset points")
    axes.legend(fontsize=6, ncols=2, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _colours(count: int) -> list[tuple[float, ...]]:
    from matplotlib import colormaps

    return [tuple(colormaps["turbo"](x)) for x in np.linspace(0.05, 0.95, count)]
