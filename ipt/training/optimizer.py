"""Adam and the learning rate of stacked jobs, each as it would be alone."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def rate_factor(step: Tensor, steps: int, warmup: float) -> Tensor:
    """Return the share of the learning rate at these steps (0-based): linear warm-up, then linear decay to zero."""
    rise = max(1, round(warmup * steps))
    step = step.double()
    return torch.minimum((step + 1) / rise, (steps - step) / max(1, steps - rise)).clamp(0, 1)


class StackedAdam:
    """Adam (Kingma & Ba 2015, no weight decay) with clipping, rate and step count per job: rows of [J, k] views."""

    def __init__(self, parameters: Iterable[nn.Parameter], jobs: int, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        self.parameters = list(parameters)
        self.jobs, self.betas, self.eps = jobs, betas, 1e-8
        self.mean = [torch.zeros_like(p).view(jobs, -1) for p in self.parameters]
        self.square = [torch.zeros_like(p).view(jobs, -1) for p in self.parameters]

    @torch.no_grad()
    def step(self, active: Tensor, count: Tensor, rates: Tensor, clip: float) -> None:
        """Update the active jobs [A]; count [A] is each one's number of steps with this one, rates [A] its rate."""
        whole = len(active) == self.jobs
        rows: Any = slice(None) if whole else active
        grads = [p.grad.view(self.jobs, -1)[rows] for p in self.parameters]  # type: ignore[union-attr]
        norm = torch.stack([g.square().sum(1) for g in grads]).sum(0).sqrt()  # [A]
        scale = (clip / norm.clamp_min(1e-12)).clamp_max(1).unsqueeze(1)
        beta1, beta2 = self.betas
        rate = (rates / (1 - beta1 ** count.double())).unsqueeze(1)
        correction = (1 - beta2 ** count.double()).unsqueeze(1)
        for p, g, m, v in zip(self.parameters, grads, self.mean, self.square, strict=True):
            g = g * scale
            m[rows] = m[rows].lerp(g, 1 - beta1)
            v[rows] = v[rows].mul(beta2).addcmul(g, g, value=1 - beta2)
            step = rate.to(p.dtype) * m[rows] / ((v[rows] / correction.to(p.dtype)).sqrt() + self.eps)
            p.view(self.jobs, -1)[rows] -= step
