"""What a case is: something that is measured, with which pools, and in which sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from summary import HIGHER


@dataclass(frozen=True)
class Figure:
    """A number that each measurement of a case yields."""

    key: str
    label: str
    better: str
    digits: int = 0


@dataclass(frozen=True)
class Entry:
    """One contender at one point of a case."""

    point: str
    contender: str
    kind: str
    params: dict[str, Any]


@dataclass(frozen=True)
class Case:
    """Something that is measured.

    Args:
        name: what the command line calls it.
        title: the heading.
        what: what is done, and how it is fair.
        points: what tells the points from each other: a column's heading, or "" if there is but one.
        figures: what each measurement yields.
        entries: makes the list of what is to be measured, in ordinary or in tiny size.
        limit: the seconds after which a measurement is ended.
        shown: parameters of an entry that tables show.
    """

    name: str
    title: str
    what: str
    points: str
    figures: tuple[Figure, ...]
    entries: Callable[[bool], Iterator[Entry]]
    limit: float = 60.0
    shown: tuple[str, ...] = ()


RATE = (Figure("rate", "tasks per second", HIGHER),)
