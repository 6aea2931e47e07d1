"""`ipt score`: the manual prompt, each task's definition before its input, on the test sets.

Nothing is tuned. Also the record of a task's scores, which `ipt tune` shares.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ipt.backbones.base import Backbone
from ipt.config import SourceConfig
from ipt.data import SAME_DATA_SEED, Task
from ipt.encoded import EncodedTask
from ipt.progress import Reporter
from ipt.training.evaluate import score_deltas


@dataclass(frozen=True, kw_only=True)
class TaskQuality:
    """How well one task is done with one kind of prompt."""

    name: str
    metric: str
    generated: tuple[float, ...]
    """Test scores of generated answers, by seed."""
    ranked: tuple[float, ...] = ()
    """Test scores of ranked options, by seed; empty where the task has no options."""
    floor: float | None = None
    """The best of what doing nothing scores; None: not measured."""
    dev_loss: float | None = None
    """In nats per token, a mean over seeds; None: nothing was tuned."""

    @property
    def mean(self) -> float:
        """The mean over seeds of the scores of generated answers."""
        return sum(self.generated) / len(self.generated)


def score_definitions(
    backbone: Backbone,
    tasks: Sequence[Task],
    source: SourceConfig,
    reporter: Reporter,
) -> list[TaskQuality]:
    """Score each task's definition as its prompt, on the rows that the source names.

    source: which rows are scored, and how many.
    """
    records = []
    with reporter.bar("scoring definitions") as progress:
        for number, task in enumerate(tasks, 1):
            prompt = backbone.text_prompt(task.definition + "\n").unsqueeze(0)  # [1, n, h]
            data = EncodedTask.draw(
                backbone,
                task,
                SAME_DATA_SEED,
                limit=source.limit,
                held_out=source.held_out,
            )
            (score,) = score_deltas(backbone, prompt, [data])

            ranked = () if score.ranked is None else (score.ranked,)
            record = TaskQuality(
                name=task.name,
                metric=task.metric,
                generated=(score.generated,),
                ranked=ranked,
            )
            records.append(record)
            progress(number, len(tasks), math.nan)
    return records
