"""The stream of a stage: how its loss and its speed go, a line of metrics at a time.

Beside dev losses of single jobs, a stage's `metrics-STAGE.jsonl` has lines with the key `stage`:

    stage              name of the stage
    step               steps of the stacked loop so far
    seconds            that the stage has taken so far, also before a kill
    loss               train loss, mean over the jobs and over the steps since the last line
    loss_p10, loss_p90 percentiles over the same
    dev_loss           mean over the jobs of each one's last dev loss
    active             jobs that are not done
    rows_per_second    train rows, since the last line; dev losses take their time too
    tokens_per_second  the same in tokens, by the mean length of a job's rows
    memory_mb          the most memory so far: of the GPU, else of the process
    learning_rate      mean over the jobs of the last step

A line comes after ten steps and a second, whichever is later, with each saved state, and at the
end. What is not known is null. Nothing of it acts on the training.
"""

import math
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ipt.checkpoint import Checkpoint, stream_of

if TYPE_CHECKING:
    from ipt.training.loop import Job

LEAST_STEPS = 10
LEAST_SECONDS = 1.0
DIGITS = 6
# Of the loss over jobs and steps: between these lie eight of ten.
QUANTILES = (0.1, 0.9)


class Stream:
    """Collects what the loop tells, and writes it as lines of the checkpoint's metrics."""

    def __init__(self, checkpoint: Checkpoint, jobs: Sequence["Job"], steps: Tensor) -> None:
        """Go on after the checkpoint's last line; steps: [J] that the jobs have taken."""
        self.checkpoint = checkpoint
        self.is_on = checkpoint.metrics is not None
        self.device = steps.device
        self.rows = [job.rows_per_step for job in jobs]
        self.tokens = [job.rows_per_step * mean_length(job) for job in jobs] if self.is_on else []
        self.dev_losses: dict[int, float] = {}

        # A resumed stage goes on where its last line, that of the saved state, stands.
        # An older version has written none.
        self.step = int(steps.max())
        earlier = 0.0
        lines = stream_of(checkpoint.metrics) if checkpoint.metrics else []
        if lines:
            self.step = int(lines[-1]["step"])
            earlier = float(lines[-1]["seconds"])
        self.began = time.monotonic() - earlier
        self.written = time.monotonic()
        self._empty()

    def _empty(self) -> None:
        # Of the steps since the last line.
        self.losses: list[Tensor] = []
        self.rates: Tensor | None = None
        self.row_count = 0
        self.token_count = 0.0

    def add(self, active: Sequence[int], losses: Tensor, rates: Tensor) -> None:
        """Take a step; tensors stay on their device until a line is written.

        active: [A] the jobs that took it.
        losses: [A] their train losses.
        rates: [A] their learning rates.
        """
        if not self.is_on:
            return
        self.step += 1
        self.losses.append(losses)
        self.rates = rates
        for job in active:
            self.row_count += self.rows[job]
            self.token_count += self.tokens[job]

    def add_dev(self, jobs: Sequence[int], losses: Tensor) -> None:
        """Take the dev losses [A] of these jobs."""
        if self.is_on:
            self.dev_losses |= zip(jobs, losses.tolist(), strict=True)

    def maybe_write(self, done: Tensor) -> None:
        """Write a line if enough steps and time have passed; done: [J] which jobs have ended."""
        is_due = len(self.losses) >= LEAST_STEPS
        if is_due and time.monotonic() - self.written >= LEAST_SECONDS:
            self.write(done)

    def write(self, done: Tensor) -> None:
        """Write a line, if a step was taken since the last one."""
        if not self.losses or self.rates is None:
            return
        now = time.monotonic()
        passed = max(now - self.written, 1e-9)
        losses = torch.cat(self.losses).double().cpu()
        low, high = losses.quantile(losses.new_tensor(QUANTILES)).tolist()
        dev_losses = [loss for loss in self.dev_losses.values() if math.isfinite(loss)]
        dev_loss = sum(dev_losses) / len(dev_losses) if dev_losses else math.nan
        self.checkpoint.log(
            stage=self.checkpoint.stage,
            step=self.step,
            seconds=round(now - self.began, 3),
            loss=plain(losses.mean().item()),
            loss_p10=plain(low),
            loss_p90=plain(high),
            dev_loss=plain(dev_loss),
            active=int((~done).sum()),
            rows_per_second=round(self.row_count / passed, 1),
            tokens_per_second=round(self.token_count / passed, 1),
            memory_mb=memory_mb(self.device),
            learning_rate=plain(self.rates.mean().item()),
        )
        self.written = now
        self._empty()


def plain(value: float) -> float | None:
    """Return a number as JSON has it: rounded, None for what is none."""
    return round(value, DIGITS) if math.isfinite(value) else None


def mean_length(job: "Job") -> float:
    """Return the mean number of tokens of a job's train rows, each group with the same weight."""
    means = []
    for group in job.groups:
        lengths = [tokens.tokens for _, tokens in group]
        means.append(sum(lengths) / len(lengths))
    return sum(means) / len(means)


def memory_mb(device: torch.device) -> float | None:
    """Return the most memory so far, in MB: of a CUDA device, else of this process."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    try:
        import resource
    except ImportError:
        # Windows has no such count.
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # In bytes on macOS, in kB elsewhere.
    return round(most / 1e6 if sys.platform == "darwin" else most / 1e3, 1)
