"""The answer plane: one text, and what the model answers to it all over a plane of codes.

resolve: the text and three tasks, named by the user or chosen by a rule
compute: an answer and its likelihood at each place of the plane through the tasks' codes
write:   a record of numbers, which `ipt.analysis.plots.plane` draws

The same plane can be drawn in a control: the three tasks are tuned in a random or in the PCA
subspace of the seen deltas, as the controls of an IST run are, and the plane goes through these.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ipt.config import IstConfig, PlaneConfig
from ipt.data import SAME_DATA_SEED
from ipt.experiment import encode_tasks
from ipt.metrics import score
from ipt.provenance import from_record
from ipt.run import digest_of_settings
from ipt.training.loop import Execution
from ipt.workflows.deltas import tuned_deltas
from ipt.workflows.ist import control_subspace, tune_in_subspace
from ipt.workflows.walk import BY_IST, OWN_TEXT_TOKENS, Plane, Walk

Record = dict[str, Any]
RULE = (
    "the first test row of an unseen task, tasks and rows in their order, that two seen tasks have "
    "too and were not tuned on, with three different right answers, all of which are given; the "
    "seen tasks are the first two of these"
)
# Answers of the plane by their share; a likelihood is written as a digit, tenths rounded down.
MOST_DIGIT = 9


@dataclass(frozen=True)
class PlaneText:
    """A text and the three tasks whose codes span the plane."""

    text: str
    names: tuple[str, str, str]
    is_chosen: bool
    """By the rule, and not by the user."""


def chosen_text(walk: Walk) -> PlaneText:
    """Return the text and the tasks that the rule chooses (RULE).

    Raises ValueError where no text fits.
    """
    experiment = walk.experiment
    model = experiment.model
    # Of tags and spans an answer is no text, and a masked model knows one task's options alone.
    if model.backbone.generates and not model.head.reads_states:
        seen = [name for name in experiment.seen if name in walk.names]
        tuned_on = {name: _few_shot_texts(walk, name) for name in seen}
        rows = {name: _outputs(walk, name) for name in seen}
        for name in experiment.unseen:
            if name not in walk.names:
                continue
            for example in walk.sets(name).test:
                text = example.input
                others = []
                for other in seen:
                    if text in rows[other] and text not in tuned_on[other]:
                        others.append(other)
                names = _right_of(walk, text, [name, *others])
                if names is not None:
                    return PlaneText(text, names, True)
    raise ValueError(
        f"no text of {walk.run.folder.name} is answered by three of its tasks; choose with --text "
        "and --anchors"
    )


def _few_shot_texts(walk: Walk, name: str) -> set[str]:
    sets = walk.sets(name)
    return {example.input for example in (*sets.train, *sets.dev)}


def _outputs(walk: Walk, name: str) -> dict[str, tuple[str, ...]]:
    """Return the right answers to a task's rows, by their text."""
    outputs = {}
    for example in walk.experiment.tasks[name].examples:
        outputs[example.input] = example.output
    return outputs


def _right_of(walk: Walk, text: str, names: Sequence[str]) -> tuple[str, str, str] | None:
    """Return the first task and the first two others whose different answers are all right."""
    if len(names) < 3:
        return None
    codes = torch.stack([walk.code(name) for name in names])
    answers = walk.answers(codes, names[0], [text], OWN_TEXT_TOKENS)
    chosen: list[str] = []
    found: list[str] = []
    for name, (answer,) in zip(names, answers, strict=True):
        is_new = answer.text not in found
        if is_new and is_right(walk, name, text, answer.text):
            chosen.append(name)
            found.append(answer.text)
        # All others are compared with the unseen task's answer, so it must be right.
        if not chosen:
            return None
        if len(chosen) == 3:
            return chosen[0], chosen[1], chosen[2]
    return None


def is_right(walk: Walk, name: str, text: str, answer: str) -> bool | None:
    """Return whether an answer to a text is right for a task; None: the text is no row of it."""
    accepted = _outputs(walk, name).get(text)
    if accepted is None:
        return None
    return score(walk.task(name).metric, [answer], [accepted]) >= 1


def plane_text(walk: Walk, config: PlaneConfig) -> PlaneText:
    """Return the text and tasks that a user names, or those that the rule chooses.

    Raises ValueError for a task that the run has not, and a row that the task has not.
    """
    names = config.anchor_names
    if not names:
        return chosen_text(walk)
    for name in names:
        walk.task(name)
    text = config.text
    if config.task:
        rows = walk.sets(config.task).test
        if config.row > len(rows):
            raise ValueError(
                f"--row must be 1 to {len(rows)}, the test rows of {config.task}; "
                f"found {config.row}"
            )
        text = rows[config.row - 1].input
    if not text:
        raise ValueError("--text, or --task and --row, must say what is answered")
    return PlaneText(text, (names[0], names[1], names[2]), False)


@torch.no_grad()
def in_control(walk: Walk, kind: str, names: Sequence[str]) -> Walk:
    """Return three tasks in a control subspace, each tuned there as the run tunes its own.

    kind: random or pca.
    """
    experiment = walk.experiment
    bank = tuned_deltas(experiment, experiment.seen, SAME_DATA_SEED)  # [S, P]
    subspace = control_subspace(experiment, kind, walk.dim, bank)
    config = IstConfig()
    if "ist" in walk.run.config:
        config = from_record(IstConfig, walk.run.config["ist"])
    tasks = encode_tasks(experiment, names, SAME_DATA_SEED)
    with torch.enable_grad():
        tuned = tune_in_subspace(experiment, subspace, tasks, config, Execution())
    codes = tuned.numbers[:, : subspace.dim].detach()
    made_by = {name: BY_IST for name in names}
    return replace(walk, subspace=subspace, names=tuple(names), codes=codes, made_by=made_by)


@torch.no_grad()
def plane_record(walk: Walk, text: PlaneText, width: int, height: int) -> Record:
    """Return the plane of a text as numbers."""
    plane = walk.plane(text.text, text.names, width, height)
    shown = []
    counts: Counter[str] = Counter()
    for line in plane.answers:
        texts = [" ".join(answer.text.split()) for answer in line]
        shown.append(texts)
        counts.update(texts)
    # The most frequent first; equal ones by their letters, so that the record is always the same.
    order = sorted(counts, key=lambda answer: (-counts[answer], answer))
    place = {answer: number for number, answer in enumerate(order)}
    assert plane.likelihoods is not None
    places = []
    for texts in shown:
        places.append(" ".join(str(place[text]) for text in texts))
    digits = (10 * plane.likelihoods).long().clamp(0, MOST_DIGIT).tolist()
    run = walk.run
    return {
        "kind": "plane",
        "run": run.folder.name,
        "settings": digest_of_settings(run.config),
        "subspace": walk.subspace.kind,
        "dim": walk.dim,
        "text": text.text,
        "rule": RULE if text.is_chosen else "",
        "anchors": _anchors(walk, plane, text),
        "left": round(float(plane.across[0]), 6),
        "bottom": round(float(plane.up[0]), 6),
        "step": round(float(plane.across[1] - plane.across[0]), 6),
        "answers": order,
        "shares": [round(counts[answer] / (width * height), 6) for answer in order],
        # Lines of the grid, the lowest first.
        "places": places,
        "likelihoods": ["".join(map(str, line)) for line in digits],
    }


def _anchors(walk: Walk, plane: Plane, text: PlaneText) -> list[Record]:
    """Return the three tasks: where they are, what they answer, and whether it is right."""
    codes: Tensor = torch.stack([walk.code(name) for name in text.names])
    answers = walk.answers(codes, text.names[0], [text.text], OWN_TEXT_TOKENS)
    anchors = []
    places = plane.anchors.tolist()
    for name, (x, y), (answer,) in zip(text.names, places, answers, strict=True):
        task = walk.experiment.tasks[name]
        anchors.append(
            {
                "task": name,
                "definition": " ".join(task.definition.split()),
                "seen": name in walk.experiment.seen,
                "x": round(x, 6),
                "y": round(y, 6),
                "code": [round(number, 6) for number in walk.code(name).tolist()],
                "answer": " ".join(answer.text.split()),
                "right": is_right(walk, name, text.text, answer.text),
            }
        )
    return anchors
