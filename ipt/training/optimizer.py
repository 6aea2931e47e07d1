"""Adam and the learning rate of stacked jobs, each as it would be alone."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

EPSILON = 1e-8


def rate_factor(step: Tensor, steps: int, warmup: float) -> Tensor:
    """Return the share of the learning rate: linear warm-up, then linear decay to zero.

    step: 0-based, any shape.
    warmup: share of the steps with rising rate.
    """
    rise = max(1, round(warmup * steps))
    step = step.double()
    rising = (step + 1) / rise
    falling = (steps - step) / max(1, steps - rise)
    return torch.minimum(rising, falling).clamp(0, 1)


class StackedAdam:
    """Adam (Kingma & Ba 2015, no weight decay) with clipping, rate and step count per job.

    Every parameter is seen as [J, k], a row a job.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        jobs: int,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        self.parameters = list(parameters)
        self.jobs = jobs
        self.betas = betas
        self.mean = [torch.zeros_like(p).view(jobs, -1) for p in self.parameters]
        self.square = [torch.zeros_like(p).view(jobs, -1) for p in self.parameters]

    @torch.no_grad()
    def step(self, active: Tensor, count: Tensor, rates: Tensor, clip: float) -> None:
        """Update the active jobs.

        active: [A] their indices.
        count: [A] each one's number of steps, this one included.
        rates: [A] learning rates.
        clip: largest norm of a job's gradient, over all of its numbers.
        """
        # All jobs at once need no copy of the state.
        rows: Any = slice(None) if len(active) == self.jobs else active
        gradients = []
        for parameter in self.parameters:
            assert parameter.grad is not None
            gradients.append(parameter.grad.view(self.jobs, -1)[rows])
        squares = torch.stack([g.square().sum(1) for g in gradients])
        norm = squares.sum(0).sqrt()  # [A]
        scale = (clip / norm.clamp_min(1e-12)).clamp_max(1).unsqueeze(1)

        # The moments start at zero: their bias is corrected in the rate and below the root.
        beta1, beta2 = self.betas
        rate = (rates / (1 - beta1 ** count.double())).unsqueeze(1)
        correction = (1 - beta2 ** count.double()).unsqueeze(1)

        state = zip(self.parameters, gradients, self.mean, self.square, strict=True)
        for parameter, gradient, mean, square in state:
            gradient = gradient * scale
            mean[rows] = mean[rows].lerp(gradient, 1 - beta1)
            square[rows] = square[rows].mul(beta2).addcmul(gradient, gradient, value=1 - beta2)
            root = (square[rows] / correction.to(parameter.dtype)).sqrt() + EPSILON
            update = rate.to(parameter.dtype) * mean[rows] / root
            parameter.view(self.jobs, -1)[rows] -= update
