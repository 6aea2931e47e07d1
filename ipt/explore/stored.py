"""Answers that are computed before, for a page without a server.

Of every task some rows at its own place; for the first tasks the way to the nearest one; and up to
three planes. What is chosen is chosen by order and nearness, never by how the answers look.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ipt.explore.routes import Explorer, Record, numbers, typed
from ipt.workflows.walk import Walk

ROWS = 6  # of a task
WAYS = 24  # from unseen tasks first, each to its nearest task
PLANES = 3
SIDE = 24  # places
LIKELIHOOD_DIGITS = 2

# Told how many questions are answered, of how many.
Progress = Callable[[int, int], None]
Question = tuple[str, str, Record]  # route, key, body


def stored_answers(explorer: Explorer, progress: Progress) -> dict[str, Any]:
    """Return the page's answers by route and key, as explore.js looks them up."""
    walk = explorer.walk
    ordered = unseen_first(walk)
    ways = [(name, nearest(walk, name)[0]) for name in ordered[:WAYS] if len(walk.names) > 1]
    planes = _planes(walk, ordered)
    world = explorer.respond("world", {})
    world["ways"] = [list(way) for way in ways]
    world["planes"] = [{"tasks": list(names), "text": text} for names, text in planes]

    stored: dict[str, dict[str, Record]] = {"world": {"": world}}
    questions = _questions(walk, ways, planes)
    for done, (route, key, body) in enumerate(questions, 1):
        record = explorer.respond(route, body)
        if record.get("likelihoods"):
            lines = torch.tensor(record["likelihoods"])
            record["likelihoods"] = [numbers(line, LIKELIHOOD_DIGITS) for line in lines]
        stored.setdefault(route, {})[key] = record
        progress(done, len(questions))
    return stored


def unseen_first(walk: Walk) -> list[str]:
    """Return a run's tasks, unseen ones first."""
    unseen = [name for name in walk.names if name in walk.experiment.unseen]
    return [*unseen, *(name for name in walk.names if name not in unseen)]


def nearest(walk: Walk, name: str) -> list[str]:
    """Return the other tasks, the one with the nearest code first."""
    distances = (walk.codes - walk.code(name)).norm(dim=1)
    others = [(float(d), other) for d, other in zip(distances, walk.names, strict=True)]
    return [other for _, other in sorted(others) if other != name]


def _planes(walk: Walk, ordered: Sequence[str]) -> list[tuple[tuple[str, str, str], str]]:
    """Return the tasks of each plane, and the text that is answered on it."""
    planes: list[tuple[tuple[str, str, str], str]] = []
    if walk.dim < 2 or len(walk.names) < 3:
        return planes
    for name in ordered[:PLANES]:
        near, far = nearest(walk, name)[:2]
        codes = torch.stack([walk.code(near), walk.code(far)]) - walk.code(name)
        # Three tasks on a line span none.
        if torch.linalg.matrix_rank(codes) == 2:
            text = typed(walk.sets(name).dev[0])
            planes.append(((name, near, far), text))
    return planes


def _questions(
    walk: Walk,
    ways: Sequence[tuple[str, str]],
    planes: Sequence[tuple[tuple[str, str, str], str]],
) -> list[Question]:
    questions: list[Question] = []
    for name in walk.names:
        of_task = {"task": name, "count": ROWS}
        at_place = of_task | {"vector": numbers(walk.code(name))}
        questions += [("rows", name, of_task), ("answers", name, at_place)]
    for way in ways:
        questions.append(("way", " ".join(way), {"tasks": list(way)}))
    for names, text in planes:
        body = {"tasks": list(names), "text": text, "side": SIDE}
        questions.append(("plane", " ".join(names), body))
        questions.append(("everyone", text, {"text": text}))
    return questions
