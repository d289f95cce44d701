"""What a number of measurements amount to."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HIGHER = "higher"
LOWER = "lower"


@dataclass(frozen=True)
class Summary:
    """The median of some measurements, and their spread."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """Summarize at least one value."""
        return cls(statistics.median(values), min(values), max(values), len(values))

    def ratio_to(self, other: Summary) -> float:
        """Return how many times the other's median this one's is."""
        return self.median / other.median

    def overlaps(self, other: Summary) -> bool:
        """Whether a measurement of the one could have been one of the other."""
        return self.low <= other.high and other.low <= self.high

    def verdict(self, best: Summary, better: str) -> str:
        """Compare with the best peer in words: the ratio, and whether it is a win or a loss."""
        ratio = f"{self.ratio_to(best):.2f}"
        if self.overlaps(best):
            return f"{ratio} (within the spread)"
        if ratio == "1.00":
            return f"{ratio} (equal)"
        won = (self.median > best.median) == (better == HIGHER)
        return f"{ratio} ({'better' if won else 'worse'})"


def best_of(summaries: Iterable[Summary], better: str) -> Summary | None:
    """Return the one with the best median."""
    pick = max if better == HIGHER else min
    return pick(summaries, key=lambda one: one.median, default=None)
