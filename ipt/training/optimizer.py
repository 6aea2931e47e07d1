"""Adam and the learning rate of stacked jobs, each as it would be alone."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

# Added to the root of the second moment, as in torch's Adam.
EPSILON = 1e-8


def rate_factor(step: Tensor, steps: int, warmup: float) -> Tensor:
    """Return the share of the learning rate: linear warm-up, then linear decay to zero.

    step: 0-based, any shape.
    warmup: share of the steps with rising rate.
    """
    rise = max(1, round(warmup * steps))
    fall = max(1, steps - rise)
    step = step.double()
    # One line up and one down; the lower of them is the schedule. The first step is not at rate 0.
    rising = (step + 1) / rise
    falling = (steps - step) / fall
    lower = torch.minimum(rising, falling)
    return lower.clamp_min(0)


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
        # First and second moment of each parameter's gradient, [J, k].
        self.mean = []
        self.square = []
        for parameter in self.parameters:
            zeros = torch.zeros_like(parameter)
            by_job = zeros.view(jobs, -1)
            self.mean.append(by_job)
            self.square.append(by_job.clone())

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
        squares = []
        for parameter in self.parameters:
            assert parameter.grad is not None
            by_job = parameter.grad.view(self.jobs, -1)  # [J, k]
            gradient = by_job[rows]  # [A, k]
            gradients.append(gradient)
            squares.append(gradient.square().sum(1))

        # The norm is a job's own, over all of its parameters, as if it were clipped alone.
        norm = torch.stack(squares).sum(0).sqrt()  # [A]
        positive = norm.clamp_min(1e-12)
        scale = (clip / positive).clamp_max(1)
        scale = scale.unsqueeze(1)  # [A, 1]

        # The moments start at zero: their bias is corrected in the rate and below the root. Jobs
        # have taken different numbers of steps; powers of them are taken in float64.
        beta1, beta2 = self.betas
        taken = count.double()
        mean_correction = 1 - beta1**taken
        square_correction = 1 - beta2**taken
        rate = (rates / mean_correction).unsqueeze(1)  # [A, 1]
        correction = square_correction.unsqueeze(1)  # [A, 1]

        state = zip(
            self.parameters,
            gradients,
            self.mean,
            self.square,
            strict=True,
        )
        for parameter, gradient, mean, square in state:
            dtype = parameter.dtype
            gradient = gradient * scale

            # Moving averages of the gradient and of its square.
            mean[rows] = mean[rows].lerp(gradient, 1 - beta1)
            second = square[rows].mul(beta2)
            second = second.addcmul(
                gradient,
                gradient,
                value=1 - beta2,
            )
            square[rows] = second

            second = second / correction.to(dtype)
            root = second.sqrt() + EPSILON
            update = rate.to(dtype) * mean[rows] / root
            by_job = parameter.view(self.jobs, -1)
            by_job[rows] -= update
