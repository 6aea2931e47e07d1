"""Prompt tuning (stage 0; Lester et al. 2021; paper, section 3.1).

    minimise over p:  mean over rows of (mean over answer tokens of -log P(answer | p, input))

Trained: the prompts p [J, n, h], one per job. Frozen: the backbone. Read: few-shot sets. Written: the bank.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ipt.backbone import Backbone
from ipt.config import TuneConfig
from ipt.evaluate import TaskData
from ipt.grid import Progress, Seeds, all_prompts, fit_grid
from ipt.prompts import TunedPrompt
from ipt.run import Checkpoint
from ipt.train import PromptSource


class FreePrompts(PromptSource):
    """The prompts themselves: one parameter [J, n, h]; start: [n, h] for all jobs, or [J, n, h]."""

    def __init__(self, start: Tensor, jobs: int) -> None:
        super().__init__()
        self.values = nn.Parameter(start.detach().expand(jobs, *start.shape[-2:]).clone())

    def forward(self, indices: Tensor) -> Tensor:
        return self.values[indices]


def tune_prompts(
    backbone: Backbone,
    data: Sequence[TaskData],
    config: TuneConfig,
    seeds: Seeds,
    checkpoint: Checkpoint,
    start: Tensor,
    progress: Progress = lambda done, total, loss: None,
) -> list[TunedPrompt]:
    """Tune one prompt per task's data (which may hold a task several times, with other seeds).

    start: [n, h] for all, or [T, n, h].
    """
    count = len(config.learning_rates)
    each = start if start.dim() == 2 else start.repeat_interleave(count, 0)
    source = FreePrompts(each, len(data) * count)
    choices = fit_grid(backbone, source, data, config.learning_rates, config, seeds, checkpoint, progress)
    prompts = all_prompts(source, len(source.values), torch.device(backbone.device))
    return [TunedPrompt(prompts[c.index], c.learning_rate, c.outcome.dev_loss, c.outcome.steps) for c in choices]
