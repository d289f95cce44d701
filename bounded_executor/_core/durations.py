"""How long tasks ran, counted as they end."""

from __future__ import annotations

from bisect import bisect_left

from ..stats import Histogram

__all__ = ["Times"]

# Three to a decade, from ten microseconds to a thousand seconds.
BOUNDS = (*(float(f"{digit}e{power}") for power in range(-5, 3) for digit in (1, 2.5, 5)), 1e3)


class Times:
    """Counts times of tasks. One thread adds to it; any thread may read it.

    Attributes:
        total_seconds: all times together.
    """

    def __init__(self) -> None:
        self.total_seconds = 0.0
        self._counts = [0] * (len(BOUNDS) + 1)

    def add(self, seconds: float, count: int = 1) -> None:
        """Count tasks that took so many seconds all together."""
        self._counts[bisect_left(BOUNDS, seconds / count)] += count
        self.total_seconds += seconds

    def histogram(self) -> Histogram:
        """Return what has been counted so far."""
        return Histogram(BOUNDS, tuple(self._counts), self.total_seconds)
