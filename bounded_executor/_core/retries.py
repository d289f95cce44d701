"""Work that is going to be run once more, and waits a while before it is. No lock: the owner's guards it."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from time import monotonic

from .work import Work

__all__ = ["Resting"]


class Resting:
    """Keeps work until it is due."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Work]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, work: Work, seconds: float) -> None:
        """Keep work for so many seconds."""
        heapq.heappush(self._heap, (monotonic() + seconds, work.ident, work))

    def due(self) -> list[Work]:
        """Take out what has waited long enough."""
        now = monotonic()
        works = []
        while self._heap and self._heap[0][0] <= now:
            works.append(heapq.heappop(self._heap)[2])
        return works

    def next(self) -> float | None:
        """Return when the next is due, on the clock of ``time.monotonic``; None where there is none."""
        return self._heap[0][0] if self._heap else None

    def __contains__(self, work: Work) -> bool:
        return any(one is work for one in self)

    def __iter__(self) -> Iterator[Work]:
        return (work for _, _, work in self._heap)

    def discard(self, work: Work) -> None:
        """Take out work, if it is there."""
        others = [entry for entry in self._heap if entry[2] is not work]
        heapq.heapify(others)
        self._heap = others

    def take(self) -> list[Work]:
        """Take out all."""
        works = list(self)
        self._heap = []
        return works
