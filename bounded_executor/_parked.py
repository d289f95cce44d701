"""Work whose sink cannot take more results now, in the order of its items. No lock: the owner's guards it."""

from __future__ import annotations

from bisect import insort

from ._work import Sink, Work

__all__ = ["Parked"]


class Parked:
    """Keeps work by its sink. Looking how much there is needs no lock."""

    def __init__(self) -> None:
        self._by_sink: dict[Sink, list[Work]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_sink)

    def __len__(self) -> int:
        return sum(map(len, list(self._by_sink.values())))

    def add(self, work: Work) -> None:
        """Keep work, in its place: what a worker left undone may come after what follows it."""
        work.parked = True
        insort(self._by_sink.setdefault(work.sink, []), work, key=_first)

    def firsts(self) -> list[Work]:
        """Return the first work of each sink."""
        return [works[0] for works in self._by_sink.values()]

    def remove(self, work: Work) -> bool:
        """Take out the first work of a sink; returns False when it is not that any more."""
        works = self._by_sink.get(work.sink)
        if works is None or works[0] is not work:
            return False
        work.parked = False
        del works[0]
        if not works:
            del self._by_sink[work.sink]
        return True

    def discard(self, work: Work) -> bool:
        """Take out work that stays marked, for it holds no slots; returns whether it was there."""
        works = self._by_sink.get(work.sink, [])
        if work not in works:
            return False
        works.remove(work)
        if not works:
            del self._by_sink[work.sink]
        return True

    def take(self, sink: Sink | None = None) -> list[Work]:
        """Take out all, or all of one sink. They stay marked: they hold no slots."""
        if sink is not None:
            return self._by_sink.pop(sink, [])
        taken = [work for works in self._by_sink.values() for work in works]
        self._by_sink.clear()
        return taken


def _first(work: Work) -> int:
    return work.first
