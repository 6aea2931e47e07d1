"""One task's delta out of a run, and answers with it.

A run of `ipt msf` has the tuned deltas of its tasks; a run of `ipt ist` has their d numbers, which
the subspace decodes, and for unseen tasks the weights of a mixture of seen deltas.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ipt.data import SAME_DATA_SEED
from ipt.example import half_sign
from ipt.experiment import Experiment, note_cut_rows
from ipt.methods.subspace import Subspace
from ipt.results import RunResult
from ipt.run import Run
from ipt.storage import without_repeats
from ipt.training.evaluate import FORWARD_ONLY
from ipt.training.source import mix_deltas
from ipt.workflows.deltas import tuned_deltas


@dataclass(frozen=True)
class TaskDelta:
    """A delta [P] and where it comes from."""

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
        (delta,) = tuned_deltas(experiment, [name], SAME_DATA_SEED)
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
        "vector": vector.tolist(),
        "subspace": source.folder.name,
        "setting": condition,
        "test_score": result.scores[condition][name].generated,
    }
    (delta,) = subspace.decode(vector[None])  # of [1, P]
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
    for seen, weight in zip(experiment.seen, numbers.tolist(), strict=True):
        if weight:
            weights[seen] = weight
    about |= {
        "weights": weights,
        "setting": "mixture",
        "test_score": result.scores["mixture_test"][name].generated,
    }
    bank = tuned_deltas(experiment, experiment.seen, SAME_DATA_SEED)
    (delta,) = mix_deltas(numbers[None], bank)  # of [1, P]
    return TaskDelta(delta, about)


def _numbers(run: Run, experiment: Experiment, name: str, key: str, width: int) -> Tensor:
    """Return a task's numbers, d or S; raise ValueError where the run does not have them."""
    # Rows are in the order of the condition's tasks.
    names = experiment.seen if name in experiment.seen else experiment.unseen
    tensor = run.numbers(key, (len(names), width))
    if tensor is None:
        raise ValueError(
            f"{run.folder} has no numbers for {name}: its command again, without --part, adds them"
        )
    numbers = tensor[names.index(name)]
    return numbers.to(experiment.model.device)


@torch.no_grad()
def answer_texts(
    delta: Tensor,
    experiment: Experiment,
    name: str,
    texts: Sequence[str],
    max_tokens: int,
) -> list[str]:
    """Return an answer per text: generated, or with a masked model the likeliest option.

    delta: [P]. name: of the task, whose options they are.
    """
    model = experiment.model
    backbone = model.backbone
    no_answers = [""] * len(texts)
    rows = backbone.encode(texts, no_answers)
    note_cut_rows(experiment, rows)
    # A model that generates may answer anything; a masked one ranks the options.
    names = experiment.tasks[name].options or ()
    options = [] if backbone.generates else backbone.encode(names, names)
    answers = [""] * len(rows)

    def answer_batch(indices: list[int]) -> None:
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
        for i, prediction in zip(indices, predictions, strict=True):
            if prediction.option is None:
                answers[i] = prediction.text
            else:
                answers[i] = names[prediction.option]

    budget = FORWARD_ONLY * model.token_budget
    model.in_batches(rows, answer_batch, budget, answer_tokens=max_tokens)
    # Counted on the texts: what was generated has as many tokens, or now and then one more.
    full = sum(len(backbone.ids(answer)) >= max_tokens for answer in answers)
    if full and backbone.generates:
        experiment.reporter.info(
            f"note: {full} of {len(answers)} answers fill {max_tokens} tokens; longer ones are cut"
        )
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
    if not isinstance(text, str):
        found = None if text is None else f"a {type(text).__name__}"
        raise ValueError(f"{where}: field 'input' must be a text, found {found}")
    return dict(record)
