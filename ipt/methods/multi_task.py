"""One delta for all tasks of a kind, where each task's own then begins (P-Tuning v2).

    minimize over delta, heads:
        mean over tasks of the task's loss under delta and its own head

Trained: one delta [P], the heads [T, H]. Frozen: the backbone. Read: few-shot sets of all tasks.
The paper's code for it was never published; the steps and the rate are those of tuning.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from ipt.config import TuneConfig
from ipt.encoded import EncodedTask
from ipt.methods.msf import SHARED_ROWS, rows_of_tasks
from ipt.methods.tuning import head_starts
from ipt.training.loop import Execution, Job, fit
from ipt.training.model import Model
from ipt.training.source import Shared, heads_of, with_heads


class SharedStart(NamedTuple):
    """What all tasks of a kind begin with."""

    delta: Tensor  # [P]
    heads: Tensor  # [T, H], each task's own


def find_shared_start(
    model: Model,
    tasks: Sequence[EncodedTask],
    config: TuneConfig,
    seed: int,
    execution: Execution | None = None,
) -> SharedStart:
    """Tune one delta, and a head for each task, on the rows of all of them.

    config: its steps and the first of its rates; each task has the same weight.
    """
    groups, dev = rows_of_tasks(tasks)
    job = Job(
        name="shared start",
        groups=tuple(groups),
        dev=dev,
        learning_rate=config.learning_rates[0],
        seed=seed,
        rows_per_step=min(SHARED_ROWS, config.rows_per_step * len(tasks)),
    )
    shared = Shared(model.initialize(seed))
    source = with_heads(shared, head_starts(model, tasks, seed))
    fit(model, source, [job], config, execution)
    return SharedStart(shared.value.detach()[0], heads_of(source, range(len(tasks))))
