"""The page's tables of what heads predicted: confused labels, entities by kind, wrong answers.

They are of the rows that `ipt ist` keeps in predictions.json, of the condition that stands for a
task.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ipt.analysis.report.views import View
from ipt.metrics import entities_by_kind, score
from ipt.results import BY_NAME

# Wrong answers that are shown of a task.
EXAMPLES = 3
NONE = "–"


class Answered(NamedTuple):
    """A task with its rows: input, right answers, answer."""

    name: str
    title: str  # of the condition
    rows: list[dict[str, Any]]


def is_right(answer: str, right: Sequence[str]) -> bool:
    """Say whether a row is answered right, whatever the task's metric.

    Row by row: some metrics compare no single rows, where equal texts are right.
    """
    return answer in right or score("exact-match", [answer], [right]) == 1


def answered(view: View) -> Iterator[Answered]:
    """Yield the tasks whose predictions are kept, seen ones first."""
    for name in view.names:
        condition = view.condition_of(name)
        kept = view.predictions.get(condition or "", {})
        if condition is not None and name in kept:
            yield Answered(name, BY_NAME[condition].title, kept[name]["rows"])


def confusion_rows(view: View) -> Iterator[tuple[str, ...]]:
    """Yield a row for each label of each cls task: how its rows were answered."""
    for task in answered(view):
        if view.tasks[task.name].category != "cls":
            continue
        by_label: dict[str, Counter[str]] = {}
        for row in task.rows:
            by_label.setdefault(row["right"][0], Counter())[row["answer"]] += 1
        for label in sorted(by_label):
            counts = by_label[label]
            total = sum(counts.values())
            others = [f"{name} {n}" for name, n in counts.most_common() if name != label]
            share = f"{counts[label] / total:.2f}"
            yield task.name, label, str(total), str(counts[label]), share, ", ".join(others) or NONE


def entity_rows(view: View) -> Iterator[tuple[str, ...]]:
    """Yield a row for each kind of entity of each task that is scored by entities."""
    for task in answered(view):
        if view.tasks[task.name].metric != "entity-F1":
            continue
        answers = [row["answer"] for row in task.rows]
        right = [row["right"] for row in task.rows]
        for kind, (hits, found, there) in entities_by_kind(answers, right).items():
            precision = f"{hits / found:.2f}" if found else NONE
            recall = f"{hits / there:.2f}" if there else NONE
            f1 = f"{2 * hits / (found + there):.3f}"
            yield task.name, kind, str(there), str(found), precision, recall, f1


def error_rows(view: View) -> Iterator[tuple[str, ...]]:
    """Yield the first rows of each task that are not answered right, by its own metric."""
    for task in answered(view):
        shown = 0
        for row in task.rows:
            if shown == EXAMPLES:
                break
            if is_right(row["answer"], row["right"]):
                continue
            shown += 1
            right = " / ".join(answer or "(no answer)" for answer in row["right"])
            yield task.name, row["input"], right, row["answer"] or "(no answer)"
