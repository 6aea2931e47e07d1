"""Hold a figure of several seeds, or of several pairs: its mean, the least and the largest.

It is stored as numbers and becomes a text only where it is printed: "97.1 (95.8 … 99.4)".
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ipt.analysis.scores import NONE


@dataclass(frozen=True)
class Spread:
    """The mean of some values, the least and the largest of them, and how many they are."""

    mean: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """Measure values; None where there are none."""
        # A figure that no run has is none, not zero.
        if not values:
            return None
        return cls(
            mean=sum(values) / len(values),
            low=min(values),
            high=max(values),
            count=len(values),
        )

    @classmethod
    def from_json(cls, record: Mapping[str, Any] | None) -> "Spread | None":
        """Read what `to_json` made."""
        return None if record is None else cls(**record)

    def mean_text(self, digits: int = 1, scale: float = 1) -> str:
        """Return the mean alone.

        digits: after the point.
        scale: what the mean is multiplied by; 100 for per cent.
        """
        # Scaled before it is rounded.
        value = scale * self.mean
        return f"{value:.{digits}f}"

    def text(self, digits: int = 1, scale: float = 1) -> str:
        """Return the mean, and the least and the largest where there are several values."""
        mean = self.mean_text(digits, scale)

        # One value is its own range.
        if self.count == 1:
            return mean

        low = f"{scale * self.low:.{digits}f}"
        high = f"{scale * self.high:.{digits}f}"
        return f"{mean} ({low} … {high})"


def to_json(spread: Spread | None) -> dict[str, Any] | None:
    """Return a spread as plain JSON values; null for none."""
    return None if spread is None else asdict(spread)


def spread_text(values: Sequence[float], digits: int = 1) -> str:
    """Return the spread of values as a text; a dash where there are none."""
    # For what is printed once and not stored.
    spread = Spread.of(values)
    return NONE if spread is None else spread.text(digits)
