"""Prompt tuning (stage 0; Lester et al. 2021; paper, section 3.1).

    minimise over p:  mean over rows of (mean over answer tokens of -log P(answer | p, input))

Trained: the prompts p [J, n, h], one per job. Frozen: the backbone. Read: few-shot sets. Written: the bank.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ipt.backbones.base import Backbone
from ipt.checkpoint import Checkpoint
from ipt.config import TuneConfig
from ipt.encoded import EncodedTask
from ipt.training.source import Free
from ipt.training.sweep import Progress, Seeds, all_deltas, run_sweep


@dataclass(frozen=True)
class TunedDelta:
    """A prompt [n, h] with how it was chosen; dev_loss in nats per token."""

    prompt: Tensor
    learning_rate: float
    dev_loss: float
    steps: int


def tune_deltas(
    backbone: Backbone,
    data: Sequence[EncodedTask],
    config: TuneConfig,
    seeds: Seeds,
    checkpoint: Checkpoint,
    start: Tensor,
    progress: Progress = lambda done, total, loss: None,
) -> list[TunedDelta]:
    """Tune one prompt per task's data (which may hold a task several times, with other seeds).

    start: [n, h] for all, or [T, n, h].
    """
    count = len(config.learning_rates)
    each = start if start.dim() == 2 else start.repeat_interleave(count, 0)
    source = Free(each, len(data) * count)
    choices = run_sweep(backbone, source, data, config.learning_rates, config, seeds, checkpoint, progress)
    prompts = all_deltas(source, len(source.values), torch.device(backbone.device))
    return [TunedDelta(prompts[c.index], c.learning_rate, c.outcome.dev_loss, c.outcome.steps) for c in choices]
