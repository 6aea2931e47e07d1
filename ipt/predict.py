"""One task's delta out of a run, and answers with it.

A run of `ipt msf` has the tuned deltas of its tasks; a run of `ipt ist` has their d numbers, which
the subspace decodes, and for unseen tasks the weights of a mixture of seen deltas. The numbers of a
task's head stand behind each of these.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ipt.data import SAME_DATA_SEED
from ipt.example import half_sign
from ipt.experiment import Experiment
from ipt.methods.subspace import Subspace
from ipt.results import RunResult
from ipt.run import Run
from ipt.storage import without_repeats
from ipt.training.source import decoded_with_heads, joined, mix_deltas
from ipt.workflows.answers import FIELDS, Answer, answer_of, predict_examples, unanswered
from ipt.workflows.deltas import tuned_deltas, tuned_numbers
from ipt.workflows.walk import msf_codes


@dataclass(frozen=True)
class TaskDelta:
    """A delta [P], the numbers of its head behind it [P + H], and where they come from."""

    delta: Tensor
    about: dict[str, Any]
    """Run, task, scores; `vector`: the d numbers it was decoded from; `weights`: a mixture's."""


@torch.no_grad()
def task_delta(run: Run, experiment: Experiment, name: str, mixture: bool = False) -> TaskDelta:
    """Return the delta of a task of a complete run, or its mixture.

    Raises ValueError where the run does not have it.
    """
    if run.result is None:
        raise ValueError(f"{run.folder} is not complete; run its command again to finish it")
    result = RunResult.from_json(run.result)
    require_task(run, experiment, name)
    if mixture and (result.kind != "ist" or name not in experiment.unseen):
        raise ValueError(
            "--mixture: runs of ipt ist have mixtures, of their unseen tasks "
            f"({', '.join(experiment.unseen[:4])}, ...)"
        )
    # What the file beside an exported delta says: enough to make it again.
    about = {
        "run": run.folder.name,
        "task": name,
        "split": experiment.split.name,
        "seed": experiment.seed,
        "data_seed": SAME_DATA_SEED,
        "metric": experiment.tasks[name].metric,
        "backbone": experiment.backbone.name,
        "fingerprint": experiment.backbone.fingerprint,
    }
    # MSF's own deltas are the bank's; its reconstructions are a control and no answer to give.
    if result.kind == "msf":
        (delta,) = joined(*tuned_numbers(experiment, [name], SAME_DATA_SEED))
        about["test_score"] = result.reference[SAME_DATA_SEED][name].generated
        return TaskDelta(delta, about)
    if mixture:
        return _mixture(run, experiment, name, result, about)
    return _decoded(run, experiment, name, result, about)


def require_task(run: Run, experiment: Experiment, name: str) -> None:
    """Raise ValueError, with near names, where a run has no task of this name."""
    names = [*experiment.seen, *experiment.unseen]
    if name not in names:
        some = ", ".join(get_close_matches(name, names, n=4) or names[:8])
        raise ValueError(f"{run.folder} has no task {name!r}; it has {some}, ...")


@torch.no_grad()
def vector_delta(run: Run, experiment: Experiment, name: str, vector: Sequence[float]) -> TaskDelta:
    """Return what d numbers decode to in a run's subspace, with the head of a task behind it.

    Raises ValueError where they are not d finite numbers, or the run has no head of the task.
    """
    if run.result is None:
        raise ValueError(f"{run.folder} is not complete; run its command again to finish it")
    require_task(run, experiment, name)
    source = run if run.config["kind"] == "msf" else run.source
    subspace = Subspace.load(source.folder / "subspace").to(experiment.model.device)
    numbers = torch.tensor(vector, device=experiment.model.device)
    if len(numbers) != subspace.dim or not numbers.isfinite().all():
        found = ",".join(f"{number:g}" for number in vector)
        raise ValueError(
            f"--vector must be the {subspace.dim} numbers of {run.folder.name}, with commas "
            f"between them; found {found}"
        )
    delta = subspace.decode(numbers[None])[0]
    # What a head has learned is a task's own, and no part of the subspace.
    if experiment.model.has_head_numbers:
        of_task = task_delta(run, experiment, name).delta
        delta = torch.cat([delta, of_task[len(delta) :]])
    about = {"run": run.folder.name, "vector": numbers.tolist(), "subspace": source.folder.name}
    return TaskDelta(delta, about)


def _decoded(
    run: Run,
    experiment: Experiment,
    name: str,
    result: RunResult,
    about: dict[str, Any],
) -> TaskDelta:
    """Return what a task's intrinsic vector decodes to."""
    # The condition on the first few-shot sets, which a seen task's delta was tuned on.
    condition = "train_same" if name in experiment.seen else "test"
    source = run.source
    subspace = Subspace.load(source.folder / "subspace")
    subspace.to(experiment.model.device)
    scores = result.scores
    is_encoded = condition == "train_same" and condition not in run.tensors("vectors")
    if is_encoded and not experiment.model.has_head_numbers:
        # IST has tuned none: the code that MSF has made of the task's own delta.
        condition = "train_msf"
        # Seen tasks come first among them.
        codes = msf_codes(source, experiment, subspace.dim)
        vector = codes[experiment.seen.index(name)].to(experiment.model.device)
        assert source.result is not None
        scores = RunResult.from_json(source.result).scores
    else:
        vector = _numbers(run, experiment, name, condition, subspace.dim)
    about |= {
        "vector": vector[: subspace.dim].tolist(),
        "subspace": source.folder.name,
        "setting": condition,
        "test_score": scores[condition][name].generated,
    }
    (delta,) = decoded_with_heads(vector[None], subspace.dim, subspace.decode)  # of [1, P + H]
    return TaskDelta(delta, about)


def _mixture(
    run: Run,
    experiment: Experiment,
    name: str,
    result: RunResult,
    about: dict[str, Any],
) -> TaskDelta:
    """Return a task's mixture of seen deltas."""
    numbers = _numbers(run, experiment, name, "mixture", len(experiment.seen))
    # Of d + 1 anchors; all others have weight 0 and say nothing.
    weights = {}
    count = len(experiment.seen)
    for seen, weight in zip(experiment.seen, numbers[:count].tolist(), strict=True):
        if weight:
            weights[seen] = weight
    about |= {
        "weights": weights,
        "setting": "mixture",
        "test_score": result.scores["mixture_test"][name].generated,
    }
    bank = tuned_deltas(experiment, experiment.seen, SAME_DATA_SEED)
    mix = partial(mix_deltas, bank=bank)
    (delta,) = decoded_with_heads(numbers[None], count, mix)  # of [1, P + H]
    return TaskDelta(delta, about)


def _numbers(run: Run, experiment: Experiment, name: str, key: str, width: int) -> Tensor:
    """Return a task's numbers, d or S, and H of its head.

    Raises ValueError where the run does not have them.
    """
    # Rows are in the order of the condition's tasks.
    names = experiment.seen if name in experiment.seen else experiment.unseen
    model = experiment.model
    # Stacked jobs have heads of one width, the longest's.
    sizes = {}
    for task_name in experiment.split.all:
        classes = model.head.classes(experiment.tasks[task_name])
        sizes[task_name] = model.head.size(model.backbone, classes)
    longest = max(sizes.values())
    tensor = run.numbers(key, (len(names), width + sizes[name]), longest - sizes[name])
    if tensor is None:
        raise ValueError(
            f"{run.folder} has no numbers for {name}: its command again, without --on and "
            "--against, adds them"
        )
    numbers = tensor[names.index(name)]
    return numbers.to(experiment.model.device)


@torch.no_grad()
def answer_rows(
    delta: Tensor,
    experiment: Experiment,
    name: str,
    rows: Sequence[str | Mapping[str, Any]],
    max_tokens: int,
) -> list[Answer]:
    """Return an answer per row, a text or an object with the fields of the task's kind.

    delta: [P + H]. name: of the task.
    Raises ValueError, with the number of the row, for one that is not of this kind.
    """
    task = experiment.tasks[name]
    head = experiment.model.head.of_task(task)
    examples = []
    for number, row in enumerate(rows, 1):
        examples.append(unanswered(row, task, head, f"row {number}"))
    predictions = predict_examples(delta, experiment, name, examples, max_tokens)
    answers = []
    for example, prediction in zip(examples, predictions, strict=True):
        answers.append(answer_of(example, prediction, task, head))
    return answers


def read_records(lines: Iterable[str]) -> list[str | dict[str, Any]]:
    """Return the lines of standard input that are not empty, JSON objects read.

    Raises ValueError, with the number of the line, for what is neither text nor such an object.
    """
    records = []
    # Lines are numbered as an editor counts them: a mistake in one is named by its number.
    for number, line in enumerate(lines, 1):
        # An empty line, such as the last of a file, asks nothing.
        if line.strip():
            require_text(line, f"standard input, line {number}")
            records.append(record_of(line.strip(), number))
    return records


def require_text(text: str, where: str) -> None:
    """Raise ValueError for half a sign; Python reads bytes that are not UTF-8 as such halves."""
    half = half_sign(text)
    if half is not None:
        raise ValueError(
            f"{where}: not UTF-8, or half a sign ({half.sign!a}), at place {half.place}; convert it"
        )


def output_field(records: Sequence[str | dict[str, Any]]) -> str:
    """Return the field for the answers: `output`, or `prediction` where a record has an own one.

    Raises ValueError where records have both.
    """
    taken: set[str] = set()
    for record in records:
        if isinstance(record, dict):
            taken.update(record)
    for name in ("output", "prediction"):
        if name not in taken:
            return name
    raise ValueError(
        "standard input: its records have the fields output and prediction, and one of them is "
        "where the answer is written; rename one"
    )


def record_of(line: str, number: int) -> str | dict[str, Any]:
    """Return a line of standard input as it is, or read where it is a JSON object."""
    # Texts may be given as they are; an object may have other fields, which come back with it.
    if not line.startswith("{"):
        return line
    where = f"standard input, line {number}"
    try:
        record = json.loads(line, object_pairs_hook=without_repeats)
        # As it will be written: nan and infinity are no JSON, half a sign is no UTF-8.
        require_text(json.dumps(record, ensure_ascii=False, allow_nan=False), where)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not valid JSON ({error.msg})") from error
    except RecursionError as error:
        raise ValueError(f"{where}: nested too deeply") from error
    except ValueError as error:
        # The last also of numbers with thousands of digits.
        reason = str(error).removeprefix(f"{where}: ")
        raise ValueError(f"{where}: {reason}") from error
    text = record.get("input")
    # Rows of some kinds of tasks need none.
    if not isinstance(text, str) and not any(field in record for field in FIELDS[1:]):
        found = None if text is None else f"a {type(text).__name__}"
        raise ValueError(f"{where}: field 'input' must be a text, found {found}")
    return dict(record)
