"""Work whose sink cannot take more results now, in the order of its items. No lock: the owner's guards it."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from itertools import chain

from .work import Sink, Work

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

    def __contains__(self, work: Work) -> bool:
        return work in self._by_sink.get(work.sink, ())

    def __iter__(self) -> Iterator[Work]:
        return chain.from_iterable(self._by_sink.values())

    def discard(self, work: Work) -> None:
        """Take out work, if it is there, that stays marked: it holds no slots."""
        works = self._by_sink.get(work.sink)
        if works is None:
            return
        others = [one for one in works if one is not work]
        if others:
            self._by_sink[work.sink] = others
        else:
            del self._by_sink[work.sink]

    def take(self) -> list[Work]:
        """Take out all. They stay marked: they hold no slots."""
        taken = list(self)
        self._by_sink.clear()
        return taken


def _first(work: Work) -> int:
    return work.first
