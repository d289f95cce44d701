"""Work that is going to be run once more, and waits a while before it is. No lock: the owner's guards it."""

from __future__ import annotations

import heapq
from time import monotonic

from ._work import Sink, Work

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

    def discard(self, work: Work) -> bool:
        """Take out work; returns whether it was there."""
        rest = [entry for entry in self._heap if entry[2] is not work]
        found = len(rest) < len(self._heap)
        if found:
            heapq.heapify(rest)
            self._heap = rest
        return found

    def take(self, sink: Sink | None = None) -> list[Work]:
        """Take out all, or all of one sink."""
        entries, self._heap = self._heap, []
        if sink is not None:
            self._heap = [entry for entry in entries if entry[2].sink is not sink]
            heapq.heapify(self._heap)
        return [work for _, _, work in entries if sink is None or work.sink is sink]
