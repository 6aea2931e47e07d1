"""The steps of the commands as functions on one experiment: what `import ipt` gives.

    open_experiment -> tune -> find_subspace -> tune_vectors -> score

Nothing is written but the bank of tuned deltas, below the experiment's `out`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ipt import resolve
from ipt.config import IstConfig, MsfConfig, TuneConfig, WorkConfig
from ipt.data import SAME_DATA_SEED
from ipt.experiment import Experiment, encode_tasks
from ipt.methods import msf
from ipt.methods.subspace import Subspace
from ipt.predict import answer_rows
from ipt.results import TaskScore
from ipt.run import Run
from ipt.training.loop import Execution
from ipt.training.source import decoded_with_heads, joined
from ipt.tuners.base import Tuner
from ipt.workflows.deltas import tuned_numbers
from ipt.workflows.evaluation import score_tasks
from ipt.workflows.ist import tune_in_subspace
from ipt.workflows.landscape import dev_losses_of_deltas
from ipt.workflows.msf import resolve_config
from ipt.workflows.walk import Walk


def open_experiment(
    tasks: str = "random-100",
    model: str = "mini",
    tuner: str | Tuner = "soft-prompt",
    tune: Mapping[str, Any] | None = None,
    head: str = "language-model",
    **settings: Any,
) -> Experiment:
    """Load tasks and a frozen model.

    tasks, model, tuner, head: what the flags of these names take; a tuner may also be an object.
    tune: settings of tuning, the fields of `ipt.config.TuneConfig`.
    settings: others of the work, the fields of `ipt.config.WorkConfig`, such as seed or limit.
    Raises ValueError for what does not exist or does not fit together.
    """
    # As flags are read: whoever writes a notebook gives a folder as a text.
    if isinstance(settings.get("out"), str):
        settings["out"] = Path(settings["out"])
    work = WorkConfig(tasks=tasks, model=model, head=head, **settings)
    # A name is kept in the settings; an object has no text that would make it again.
    chosen = None
    if isinstance(tuner, str):
        work = replace(work, tuner=tuner)
    else:
        chosen = tuner
    tune_config = TuneConfig(**(tune or {}))
    return resolve.open_experiment(work, tune_config, chosen)


def reopen_experiment(run: Run, device: str = "auto") -> Experiment:
    """Return the experiment that a finished run was made on."""
    # Runs and the bank stand in one folder.
    out = run.folder.parent
    return resolve.reopen_experiment(run.config, out, device=device)


def open_walk(run: Run, device: str = "auto") -> Walk:
    """Return a complete run as a place to walk in: tasks' codes, and answers anywhere.

    Raises ValueError for a run that is not complete or has no codes of tasks.
    """
    return Walk.open(run, reopen_experiment(run, device))


def tune(experiment: Experiment, names: Sequence[str] | None = None) -> Tensor:
    """Return tuned deltas [T, P + H], out of the bank or tuned now.

    names: of tasks; the seen ones, if not given.
    H: the numbers of a task's head behind those of its delta, filled up where it has fewer classes
        than others; 0 of a language model.
    """
    names = names or experiment.seen
    return joined(*tuned_numbers(experiment, names, SAME_DATA_SEED))


def find_subspace(experiment: Experiment, **settings: Any) -> Subspace:
    """Return the subspace of the seen tasks' deltas (MSF).

    settings: the fields of `ipt.config.MsfConfig`, such as dim or steps.
    """
    # As the command does: the decoder's width follows the size of a delta.
    config = resolve_config(experiment, MsfConfig(**settings))
    bank = tune(experiment)
    tasks = encode_tasks(experiment, experiment.seen, SAME_DATA_SEED)
    with experiment.reporter.bar("finding the subspace") as progress:
        execution = Execution(progress=progress)
        subspace = msf.find_subspace(
            experiment.model,
            bank,
            tasks,
            config,
            experiment.seed,
            execution,
        )
    # Methods know no split; the subspace's card names it.
    subspace.split = experiment.split.name
    return subspace


def tune_vectors(
    experiment: Experiment,
    subspace: Subspace,
    names: Sequence[str] | None = None,
    **settings: Any,
) -> Tensor:
    """Return tuned intrinsic vectors [T, d + H] (IST), with the numbers of the tasks' heads.

    names: of tasks; the unseen ones, if not given.
    settings: the fields of `ipt.config.IstConfig`, such as steps or learning_rates.
    """
    names = names or experiment.unseen
    tasks = encode_tasks(experiment, names, SAME_DATA_SEED)
    config = IstConfig(**settings)
    # Without a checkpoint: nothing is written.
    execution = Execution()
    tuned = tune_in_subspace(experiment, subspace, tasks, config, execution)
    return tuned.numbers


def decode(subspace: Subspace, vectors: Tensor) -> Tensor:
    """Return the deltas [T, P + H] of intrinsic vectors [T, d + H], heads unchanged."""
    return decoded_with_heads(vectors, subspace.dim, subspace.decode)


def score(
    experiment: Experiment,
    deltas: Tensor,
    names: Sequence[str] | None = None,
) -> dict[str, TaskScore]:
    """Return each task's scores on its test set under its delta.

    deltas: [T, P + H], in the order of names.
    names: of tasks; the unseen ones, if not given.
    """
    names = names or experiment.unseen
    tasks = encode_tasks(experiment, names, SAME_DATA_SEED)
    # Fewer would score the first tasks only, and say nothing of the others.
    if len(deltas) != len(tasks):
        raise ValueError(
            f"{len(tasks)} deltas were expected, one for each task; found {len(deltas)}"
        )
    return score_tasks(experiment, "deltas", deltas, tasks)


def dev_loss(experiment: Experiment, deltas: Tensor, name: str) -> Tensor:
    """Return the dev loss [U] of one task under each of the deltas [U, P + H], nats per target."""
    (data,) = encode_tasks(experiment, [name], SAME_DATA_SEED)
    return dev_losses_of_deltas(experiment, deltas, data)


@torch.no_grad()
def answer(
    experiment: Experiment,
    delta: Tensor | None,
    name: str,
    texts: Sequence[str | Mapping[str, Any]],
    max_tokens: int = 32,
) -> list[Any]:
    """Return an answer to each text: a text, or of tags and spans what JSON lines have of them.

    delta: [P + H]; None asks the bare model.
    name: of the task, whose options a masked model ranks.
    texts: or objects with the fields of the task's kind: tokens; context and query; input, choices.
    Raises ValueError for a row of another kind, and for the bare model where a head is to be tuned.
    """
    model = experiment.model
    if delta is None and model.has_head_numbers:
        raise ValueError(
            f"the head {model.head.name} has numbers of its own: give a delta with them behind it, "
            "of ipt.tune"
        )
    # The bare model's delta has no numbers.
    if delta is None:
        experiment = replace(experiment, model=model.bare)
        delta = experiment.model.initialize(experiment.seed)
    return [one.value for one in answer_rows(delta, experiment, name, texts, max_tokens)]
