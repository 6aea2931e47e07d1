"""How far two ways of computing the same may lie apart: rounding of the type, grown by layers."""

import torch
from torch import Tensor

# As a share of what is compared, or of 1.
TOLERANCE = {torch.float64: 1e-6, torch.float32: 3e-4}
HALF_PRECISION = 0.1


def is_close(dtype: torch.dtype, found: Tensor, expected: Tensor) -> bool:
    """Return whether two ways agree but for rounding.

    dtype: of the model's weights.
    """
    share = TOLERANCE.get(dtype, HALF_PRECISION)
    found = found.float()
    expected = expected.float()
    difference = (found - expected).abs()
    largest = expected.abs().clamp_min(1)
    return bool((difference <= share * largest).all())
