"""What the model answers to rows of three unseen tasks: without a prompt, with d numbers, tuned.

The rows are the first held-out ones of each task, as `ipt ist` keeps them; the tasks are the best,
the middle and the worst by recovery, so that nobody picks them, of those that tuning lifts above
their floor.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from ipt.analysis.report.predictions import is_right
from ipt.analysis.report.views import ScoredTask, View
from ipt.recovery import is_above

ROWS = 5  # of a task
# By what the run calls it.
SHOWN = {"empty": "no prompt", "test": "{} numbers", "reference": "full tuning"}
NOTHING = "(no answer)"


class Answer(NamedTuple):
    """An answer and whether it is right."""

    text: str
    is_right: bool


class AnsweredRow(NamedTuple):
    """An input, what was wanted, and an answer a column."""

    input: str
    wanted: str
    answers: list[Answer]


class AnsweredTask(NamedTuple):
    """A task with its rows."""

    place: str  # best, middle or worst
    name: str
    about: str
    columns: list[str]
    rows: list[AnsweredRow]


def answered_tasks(view: View) -> list[AnsweredTask]:
    """Return the tasks to show; none of a run that keeps no answers."""
    kept = view.answers.get("answers", {})
    if "test" not in kept:
        return []
    tasks = []
    counted = []
    for task in view.scored_tasks(view.unseen):
        # what has no share has no place among the others
        if not math.isnan(task.recovery) and task.name in kept["test"]:
            tasks.append(task)
            if is_above(task.reference, task.floor):
                counted.append(task)
    # of a task that tuning learns next to nothing of, any share is high
    tasks = counted or tasks
    tasks.sort(key=lambda task: (-task.recovery, task.name))
    chosen = _chosen(tasks)
    return [_answered(view, place, task) for place, task in chosen.items()]


def _chosen(tasks: Sequence[ScoredTask]) -> dict[str, ScoredTask]:
    """Return the best, the middle and the worst of sorted tasks; of fewer each once."""
    if not tasks:
        return {}
    places = {"best": 0, "middle": len(tasks) // 2, "worst": len(tasks) - 1}
    chosen = {}
    taken = set()
    for place, i in places.items():
        if i not in taken:
            chosen[place] = tasks[i]
        taken.add(i)
    return chosen


def _answered(view: View, place: str, task: ScoredTask) -> AnsweredTask:
    kept = view.answers["answers"]
    sources = [what for what in SHOWN if task.name in kept.get(what, {})]
    rows = []
    for number, row in enumerate(view.answers["rows"][task.name][:ROWS]):
        answers = []
        for what in sources:
            text = kept[what][task.name][number]
            answers.append(Answer(text or NOTHING, is_right(text, row["right"])))
        wanted = " / ".join(answer or NOTHING for answer in row["right"])
        rows.append(AnsweredRow(row["input"], wanted, answers))
    return AnsweredTask(
        place=place,
        name=task.name,
        about=view.tip(task.name).removeprefix(f"{task.name} · "),
        columns=[SHOWN[what].format(view.dim) for what in sources],
        rows=rows,
    )
