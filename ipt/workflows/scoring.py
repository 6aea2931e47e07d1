"""`ipt score`: the manual prompt, each task's definition before its input, on the test sets.

Nothing is trained. What a task's instruction in words is worth stands beside what is tuned.
"""

import math
from collections.abc import Sequence

from ipt.backbones.base import Backbone
from ipt.config import SourceConfig
from ipt.data import SAME_DATA_SEED, Task
from ipt.encoded import EncodedTask
from ipt.progress import Reporter
from ipt.results import TaskScore
from ipt.training.evaluate import score_deltas
from ipt.training.model import Model
from ipt.tuners.soft_prompt import SoftPrompt


def score_definitions(
    backbone: Backbone,
    tasks: Sequence[Task],
    source: SourceConfig,
    reporter: Reporter,
) -> dict[str, TaskScore]:
    """Score each task with its definition as the prompt.

    source: which rows are scored, and how many of them.
    Returns the scores by task, in the order of the tasks.
    """
    scores = {}
    with reporter.bar("scoring definitions") as progress:
        for number, task in enumerate(tasks, 1):
            # Prompts differ in length, so tasks do not share batches.
            prompt = backbone.text_embeddings(task.definition + "\n")  # [n, h]
            model = Model(backbone, SoftPrompt(prompt_length=len(prompt)))
            data = EncodedTask.draw(
                backbone,
                task,
                SAME_DATA_SEED,
                limit=source.limit,
                held_out=source.held_out,
            )
            (score,) = score_deltas(model, prompt.flatten()[None], [data])
            # Predictions are left out: only the figures are printed and written.
            scores[task.name] = TaskScore(score.generated, score.ranked)
            progress(number, len(tasks), math.nan)
    return scores
