"""The result of a run on one screen: at most eight settings, in plain words and whole per cent.

The whole table, with every setting and group of tasks, is `ipt.analysis.scores.lines`.
"""

import math
from collections.abc import Sequence

import numpy as np

from ipt.analysis.markup import TextTable
from ipt.analysis.scores import (
    NONE,
    NUMBERS_COLUMN,
    Groups,
    Line,
    groups,
    lines,
    numbers_tuned,
    subcategories,
)
from ipt.recovery import FEWEST, Recovery
from ipt.results import BY_NAME, RunResult

MOST_ROWS = 8
# What is printed of each setting, in the order of the table; {d} is the run's.
TITLES = {
    "test": "{d} numbers, unseen tasks",
    "test_msf": "unseen, through the autoencoder",
    "mixture_test": "mixture of seen prompts",
    "pca_test": "{d} numbers, PCA directions",
    "random_test": "{d} numbers, random directions",
    "start_test": "{d} numbers, random from the start",
    "shared": "one prompt for all",
    "train_diff": "{d} numbers, seen tasks, other data",
    "train_same": "{d} numbers, seen tasks",
    "train_msf": "seen, through the autoencoder",
    "mean_code": "mean code",
    "head_alone": "the head alone",
    "best_seen": "best seen prompt",
    "nearest_seen": "nearest seen prompt",
    "best_code": "best seen code",
    "choice_test": "best of three by dev loss",
}
# What says most comes into a table of an IST run before the others.
FIRST = (
    "test",
    "mixture_test",
    "pca_test",
    "random_test",
    "head_alone",
    "shared",
    "train_diff",
    "train_same",
    "train_msf",
    "test_msf",
)
COLUMNS = ("", "score", "of prompt\ntuning, %", "above the\nfloor, %", "tasks")


def short_table(results: Sequence[RunResult], by: str = "settings") -> TextTable:
    """Return the table of an MSF and an IST result, or of one.

    Per cent of prompt tuning's score, and of what it gains above the floor, each with its 95 %
    interval over tasks. Prompt tuning itself is the first row, on the unseen tasks where the split
    has any.

    by: `kind` or `subcategory` for groups of tasks below each setting.
    """
    grouping = subcategories if by == "subcategory" else groups
    overall: dict[str, Line] = {}
    parts: dict[str, list[Line]] = {}
    for line in lines(results):
        if line.group == "all":
            overall[line.setting] = line
    if by != "settings":
        for line in lines(results, grouping=grouping):
            if line.group != "all":
                parts.setdefault(line.setting, []).append(line)

    # Of runs with heads: what is tuned in all.
    numbers = numbers_tuned(results)
    empty = ("",) if numbers else ()
    rows = [(*_reference_row(results[-1]), *empty)]
    for setting in _chosen(overall):
        row = _row(title_of(setting, results[-1]), overall[setting].recovery)
        rows.append((*row, *numbers.get(setting, empty)))
        for part in parts.get(setting, ()):
            rows.append((*_row(f"  {part.group}", part.recovery), *empty))
    columns = (*COLUMNS, NUMBERS_COLUMN) if numbers else COLUMNS
    return TextTable(columns, tuple(rows))


def title_of(setting: str, result: RunResult) -> str:
    """Return what the short table calls a setting."""
    dim = result.dim
    if setting == "pca_test" and result.pca_dim:
        dim = result.pca_dim
    return TITLES[setting].format(d=dim)


def left_out(results: Sequence[RunResult]) -> int:
    """Return how many settings the short table has no room for."""
    measured = {line.setting for line in lines(results)}
    return len(measured) - len(_chosen(dict.fromkeys(measured)))


def _chosen(measured: "dict[str, Line] | dict[str, None]") -> list[str]:
    """Return the settings to show, in the order of `TITLES`; prompt tuning has a row too."""
    order = [*FIRST, *[name for name in TITLES if name not in FIRST]]
    present = [name for name in order if name in measured]
    kept = present[: MOST_ROWS - 1]
    return [name for name in TITLES if name in kept]


def _reference_row(result: RunResult) -> tuple[str, ...]:
    """Return the row of prompt tuning: what 100 % are."""
    # On the unseen tasks, as most rows are; a split may have none.
    reference = result.reference[min(result.reference, key=_is_other_data)]
    names: Groups = {"seen": frozenset(result.split.seen)}
    names["unseen"] = frozenset(result.tasks) - names["seen"]
    chosen = names["unseen"] or names["seen"]
    scores = [reference[name].generated for name in reference if name in chosen]
    title = "prompt tuning, unseen tasks" if names["unseen"] else "prompt tuning, seen tasks"
    mean = f"{np.mean([score for score in scores if score is not None]):.3f}" if scores else NONE
    return (title, mean, "100", "100", str(len(scores)))


def _is_other_data(data_seed: int) -> bool:
    return data_seed != BY_NAME["test"].data_seed


def _row(title: str, figures: Recovery) -> tuple[str, ...]:
    relative = share_text(
        figures.relative, figures.interval, figures.tasks - len(figures.undefined)
    )
    above = figures.tasks - len(figures.below_floor)
    floored = share_text(figures.floored, figures.floored_interval, above)
    return (title, f"{figures.absolute:.3f}", relative, floored, str(figures.tasks))


def share_text(share: float, interval: tuple[float, float], tasks: int) -> str:
    """Return a share in whole per cent with its interval: `76  42–114`; few tasks have none."""
    if math.isnan(share):
        return NONE
    text = whole(share)
    if tasks < FEWEST or math.isnan(interval[0]):
        return text
    low, high = map(whole, interval)
    # A minus sign beside a dash cannot be read.
    middle = " to " if "−" in low + high else "–"
    return f"{text}  {low}{middle}{high}"


def whole(share: float) -> str:
    """Return a share in whole per cent, with a minus sign."""
    return f"{100 * share:.0f}".replace("-0", "0").replace("-", "−")


def msf_sentence(result: RunResult) -> str:
    """Return what comes back of prompt tuning through an MSF run's autoencoder, as a sentence."""
    found = {}
    for line in lines([result]):
        if line.group == "all":
            found[line.setting] = line.recovery
    texts = []
    for setting, what in (("train_msf", "seen"), ("test_msf", "unseen")):
        figures = found.get(setting)
        if figures is None or math.isnan(figures.relative):
            continue
        low, high = map(whole, figures.interval)
        tasks = f"{figures.tasks} {what} tasks"
        interval = f" (95 % interval {low} to {high})" if figures.tasks >= FEWEST else ""
        texts.append(f"{whole(figures.relative)} % of prompt tuning on {tasks}{interval}")
    if not texts:
        return ""
    return f"Through {result.dim} numbers the autoencoder keeps " + ", ".join(texts) + "."
