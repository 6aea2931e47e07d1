"""The page's headline: what the numbers recover beside their rivals, and how far to trust it.

The sentence and the shares R are those of `ipt.analysis.protocol_table`, which `ipt ist` prints.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ipt.analysis.protocol_table import METHODS, run_sentence, run_standing
from ipt.analysis.report.views import View
from ipt.recovery import FEWEST
from ipt.results import BY_NAME

# Rivals of the strip beside those of the protocol: what no tuning for a task gives.
UNTUNED = ("shared",)
# In words; what is not here has the title of the tables.
WORDS = {
    "test": "{} numbers a task",
    "choice_test": "best of three by dev loss",
    "mixture_test": "mixture of seen prompts",
    "pca_test": "PCA subspace",
    "random_test": "random subspace",
    "start_test": "random directions at the start",
    "best_seen": "best seen prompt as it is",
    "nearest_seen": "seen prompt of the nearest definition",
    "head_alone": "the head alone",
    "shared": "one prompt for all tasks",
}
# The axis ends here, whatever a rival with a wide interval does.
LEAST, MOST = -50.0, 150.0
TICK = 50  # per cent
QUICK_STEPS = 100  # of tuning: what the quick preset does, and less


@dataclass(frozen=True)
class StripRow:
    """A row of the strip: shares in per cent, and places on its axis in per cent of its width."""

    name: str
    is_own: bool
    value: str
    interval: str
    dot: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Strip:
    """Rivals on one axis, the best first."""

    rows: Sequence[StripRow]
    ticks: Sequence[tuple[str, float]]
    counted: int
    tasks: int


def sentence(view: View) -> str:
    """Return what the run recovers and its strongest rival; empty where no unseen task counts."""
    text = run_sentence(view.ist.result)
    # As the page writes numbers: ranges in words, a minus as wide as a figure.
    text = re.sub(r"-(?=\d)", "−", text).replace(" … ", " to ")
    return f"{text}." if text else ""


def strip(view: View) -> Strip | None:
    """Return R of every condition of unseen tasks; None where no task counts."""
    found = {}
    for condition in (*METHODS, *UNTUNED):
        for result in view.results:
            if result.scores.get(condition):
                found[condition] = run_standing(result, condition)
    counted = {name: figures for name, figures in found.items() if figures.counted}
    if not counted:
        return None

    # One axis for all, from the lowest to the highest end that is drawn.
    shares = {}
    ends = [0.0, 100.0]
    for name, figures in counted.items():
        low, high = figures.recovered.interval
        if figures.counted < FEWEST:
            low = high = math.nan
        shares[name] = (100 * figures.recovered.value, 100 * low, 100 * high)
        ends += [end for end in shares[name] if not math.isnan(end)]
    first = max(LEAST, TICK * math.floor(min(ends) / TICK))
    last = min(MOST, TICK * math.ceil(max(ends) / TICK))

    def place(share: float) -> float:
        inside = min(max(share, first), last)
        return round(100 * (inside - first) / (last - first), 2)

    ranked = sorted(shares, key=lambda name: -shares[name][0])
    rows = [StripRow("prompt tuning, the reference", False, "100", "", place(100), None, None)]
    for name in ranked:
        value, low, high = shares[name]
        has_interval = not math.isnan(low)
        title = WORDS.get(name, BY_NAME[name].title).format(view.dim)
        rows.append(
            StripRow(
                name=title,
                is_own=name == "test",
                value=signed(f"{value:.0f}"),
                interval=signed(f"{low:.0f} to {high:.0f}") if has_interval else "",
                dot=place(value),
                low=place(low) if has_interval else None,
                high=place(high) if has_interval else None,
            )
        )
    ticks = []
    for share in range(int(first), int(last) + 1, TICK):
        ticks.append((signed(str(share)), place(share)))
    figures = counted.get("test") or next(iter(counted.values()))
    return Strip(rows, ticks, figures.counted, figures.tasks)


def signed(text: str) -> str:
    """Return a number or a range with a minus sign that is as wide as a plus."""
    return text.replace("-0 ", "0 ").replace("-", "−") if text != "-0" else "0"


def banner(views: Sequence[View]) -> list[str]:
    """Return why the page is a look and no result: nothing where nothing speaks against it."""
    found: dict[str, None] = {}  # a set that keeps its order
    for view in views:
        found |= dict.fromkeys(_reservations(view))
    seeds = {view.ist.settings["seed"] for view in views}
    if len(seeds) == 1:
        found["one seed"] = None
    return list(found)


def _reservations(view: View) -> Iterator[str]:
    stages = (view.msf.settings, view.ist.settings)
    # 0: all rows
    limits = {settings.get("limit") for settings in stages} - {None, 0}
    if limits:
        yield f"{min(limits)} test rows a task"
    if _is_quick(view.msf.settings):
        yield "the few steps of the quick preset"
    # older runs do not say it: they knew test sets only
    if {settings.get("held_out", "test") for settings in stages} != {"test"}:
        yield "dev rows, no test rows"


def _is_quick(settings: dict[str, Any]) -> bool:
    return bool(settings["tune"]["steps"] <= QUICK_STEPS) if "tune" in settings else False
