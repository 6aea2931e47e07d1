"""One task's delta out of a run, and answers with it.

A run of `ipt msf` has the tuned deltas of its tasks; a run of `ipt ist` has their d numbers, which
the subspace decodes, and for unseen tasks the weights of a mixture of seen deltas. The numbers of a
task's head stand behind each of these.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ipt.data import SAME_DATA_SEED, Task
from ipt.example import Example, half_sign, read_example
from ipt.experiment import Experiment, note_cut_rows
from ipt.heads.base import Head, Prediction
from ipt.methods.subspace import Subspace
from ipt.metrics import entities
from ipt.results import RunResult
from ipt.run import Run
from ipt.storage import without_repeats
from ipt.training.evaluate import FORWARD_ONLY
from ipt.training.source import decoded_with_heads, joined, mix_deltas
from ipt.workflows.deltas import tuned_deltas, tuned_numbers

# What a row of some kind of task may have.
FIELDS = ("input", "tokens", "predicate", "query", "question", "context", "choices")
# The tags of entities begin with one of these, or are O.
BEGINS, GOES_ON = "B-", "I-"


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
    names = [*experiment.seen, *experiment.unseen]
    if name not in names:
        raise ValueError(f"{run.folder} has no task {name!r}; it has {', '.join(names[:8])}, ...")
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
    vector = _numbers(run, experiment, name, condition, subspace.dim)
    about |= {
        "vector": vector[: subspace.dim].tolist(),
        "subspace": source.folder.name,
        "setting": condition,
        "test_score": result.scores[condition][name].generated,
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


class Answer(NamedTuple):
    """An answer in one line of text, and as JSON has it."""

    text: str
    value: Any


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


def unanswered(row: str | Mapping[str, Any], task: Task, head: Head, where: str) -> Example:
    """Return a row without its answer; raise ValueError where it is not of the task's kind."""
    record = {"input": row} if isinstance(row, str) else dict(row)
    text = record.get("input")
    # A language model reads any text.
    if not head.reads_states and isinstance(text, str):
        return Example(text, ("",))
    if isinstance(row, str) and task.category in ("span", "choice"):
        fields = "context and query" if task.category == "span" else "input and choices"
        raise ValueError(
            f"{where} is a text; {task.name} is of the kind {task.category}, whose rows are JSON "
            f"objects with {fields}, one a line of standard input"
        )
    known = {field: record[field] for field in FIELDS if field in record}
    if task.category == "tags" and isinstance(text, str) and "tokens" not in known:
        known["tokens"] = text.split()
    # Any that it may have: an answer is a part of a row, and no head reads it here.
    first = task.options[0] if task.options else "?"
    choices = known.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], str):
        first = choices[0]
    tokens = known.get("tokens")
    count = len(tokens) if isinstance(tokens, list) else 1
    return read_example(known | {"output": first, "tags": count * [first]}, task.category, where)


def predict_examples(
    delta: Tensor,
    experiment: Experiment,
    name: str,
    examples: Sequence[Example],
    max_tokens: int,
) -> list[Prediction]:
    """Return what is predicted for rows without their answers."""
    model = experiment.model
    backbone = model.backbone
    task = experiment.tasks[name]
    rows = model.head.encode(backbone, task, examples)
    note_cut_rows(experiment, rows)
    # A model that generates may answer anything; a masked one ranks the options.
    ranks = not (model.head.reads_states or backbone.generates)
    names = task.options or ()
    options = backbone.encode(names, names) if ranks else []
    found: dict[int, Prediction] = {}

    def predict_batch(indices: list[int]) -> None:
        # All rows run under the one delta.
        owner = torch.zeros(len(indices), dtype=torch.long, device=delta.device)  # [B]
        tokens = [rows[i] for i in indices]
        predictions = model.predict(
            delta[None],
            owner,
            tokens,
            max_tokens,
            options,
        )
        # Batches are sorted by length: each answer goes to the place of its text.
        found.update(zip(indices, predictions, strict=True))

    budget = FORWARD_ONLY * model.token_budget
    model.in_batches(rows, predict_batch, budget, answer_tokens=max_tokens)
    predictions = []
    for i in range(len(rows)):
        prediction = found[i]
        # A masked model names the option's number alone.
        if ranks and prediction.option is not None:
            prediction = replace(prediction, text=names[prediction.option])
        predictions.append(prediction)
    if not (model.head.reads_states or ranks):
        _note_full(experiment, [one.text for one in predictions], max_tokens)
    return predictions


def _note_full(experiment: Experiment, answers: Sequence[str], max_tokens: int) -> None:
    """Say how many written answers may be cut."""
    # Counted on the texts: what was generated has as many tokens, or now and then one more.
    full = sum(len(experiment.backbone.ids(answer)) >= max_tokens for answer in answers)
    if full:
        experiment.reporter.info(
            f"note: {full} of {len(answers)} answers fill {max_tokens} tokens; longer ones are cut"
        )


def answer_of(example: Example, prediction: Prediction, task: Task, head: Head) -> Answer:
    """Return a prediction as it is printed."""
    text = " ".join(prediction.text.split())
    if not head.reads_states or task.category not in ("tags", "span"):
        return Answer(prediction.text, prediction.text)
    if task.category == "span":
        start, end = prediction.span or (None, None)
        return Answer(text, {"text": prediction.text, "start": start, "end": end})
    tags = prediction.text.split()
    value: dict[str, Any] = {"tokens": list(example.tokens), "tags": tags}
    if _are_entities(task):
        value["entities"] = _entities(example.tokens, tags)
    pairs = zip(example.tokens, tags, strict=True)
    return Answer(" ".join(f"{word}/{tag}" for word, tag in pairs), value)


def _are_entities(task: Task) -> bool:
    """Return whether a task's tags are those of entities, and not one of each word's own."""
    tags = set(task.options or ()) - {"O"}
    return all(tag.startswith((BEGINS, GOES_ON)) for tag in tags)


def _entities(tokens: Sequence[str], tags: Sequence[str]) -> list[dict[str, Any]]:
    """Return the entities of a row, each with its words [start, end)."""
    found = []
    for kind, first, last in entities(tags):
        text = " ".join(tokens[first : last + 1])
        found.append({"kind": kind, "start": first, "end": last + 1, "text": text})
    return found


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
