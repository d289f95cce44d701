"""The registry of cases: what is measured, with which pools, and in which sizes.

A new case is one more :class:`Case` in ``CASES``. What its measurements do is one of the functions in
``runner.KINDS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from contenders import CONTENDERS
from summary import HIGHER, LOWER


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
RECYCLERS = ("ours", "Pool", "ProcessPoolExecutor", "pebble", "mpire", "billiard", "deadpool")
# Enough tasks for some seconds, and for each worker to be replaced at least twice.
TASKS = {1: 400, 2: 800, 10: 2000, 100: 4000, None: 4000}


def _rate(
    point: str, contender: str, workers: int, every: int | None, tasks: int, quick: bool, **more: Any
) -> Entry:
    if CONTENDERS[contender].slow and every is not None:
        tasks = max(tasks // 4, 2 * workers * every)
    params = {
        "workers": workers,
        "every": every,
        "tasks": 8 if quick else tasks,
        "module": "work",
        "task": "sleep_10_ms",
        "warm": True,
        **more,
    }
    return Entry(point, contender, "rate", params)


def _recycling(quick: bool) -> Iterator[Entry]:
    for every, tasks in TASKS.items():
        names: Sequence[str] = RECYCLERS if every is not None else (*RECYCLERS, "loky")
        for name in names:
            yield _rate(str(every or "never"), name, 2 if quick else 20, every, tasks, quick)


def _recycling_2(quick: bool) -> Iterator[Entry]:
    for name in RECYCLERS:
        yield _rate("2", name, 2, 2, 600, quick)


def _slow_import(quick: bool) -> Iterator[Entry]:
    for name in ("ours", "Pool", "ProcessPoolExecutor", "pebble", "billiard"):
        yield _rate("2", name, 2, 2, 600, quick, module="slow_module", warm=False)


LIGHT = "a module of no size"
HEAVY = "a module of 40 MB"


def _memory_idle(quick: bool) -> Iterator[Entry]:
    peers = ("Pool", "ProcessPoolExecutor", "loky", "pebble")
    workers = 2 if quick else 20
    for name in ("ours", *peers):
        yield Entry(LIGHT, name, "memory", {"workers": workers, "module": "work"})
    for name in ("ours", "ours-preload", *peers):
        yield Entry(HEAVY, name, "memory", {"workers": workers, "module": "heavy_module"})


FRESH = "the first block of the process"
AGAIN = "a further block"


def _start(quick: bool) -> Iterator[Entry]:
    for name in ("ours", "loky", "ProcessPoolExecutor-spawn"):
        yield Entry(FRESH, name, "fresh", {"workers": 2})
    for name in ("ours", "loky-reusable"):
        yield Entry(AGAIN, name, "again", {"workers": 2, "blocks": 2 if quick else 20})


def _memory_over_time(quick: bool) -> Iterator[Entry]:
    for name in ("ours", "ProcessPoolExecutor"):
        yield Entry("", name, "growth", {"workers": 20, "tasks": 500 if quick else 60_000, "bytes": 4096})


CASES: dict[str, Case] = {
    one.name: one
    for one in (
        Case(
            "recycling",
            "Replacing worker processes: 20 workers",
            "20 workers run tasks that sleep for 10 ms, and each worker process is replaced after so many "
            "of them. Sleeping, the workers compete for next to nothing but the replacing: without any, "
            "20 of them could do 2,000 such tasks a second. Before the clock starts, 40 tasks warm up; it "
            "stops when the last result is in. Pools that replace slowly get fewer tasks, but enough "
            "for each worker to be replaced twice.",
            "replaced every",
            RATE,
            _recycling,
            shown=("tasks",),
        ),
        Case(
            "recycling-2",
            "Replacing worker processes: 2 workers",
            "The same with 2 workers, each replaced after 2 tasks; 4 tasks warm up. Two workers could do "
            "200 such tasks a second.",
            "replaced every",
            RATE,
            _recycling_2,
            shown=("tasks",),
        ),
        Case(
            "slow-import",
            "Replacing worker processes where the tasks' module is slow to import",
            "The same with a task from a module that takes 300 ms of processor time to import. The parent "
            "has imported it before the clock starts. There is no warm-up: the clock starts before the pool "
            "is made, so that what is paid once counts as well. Pools that fork workers from the parent "
            "find the module imported.",
            "replaced every",
            RATE,
            _slow_import,
            shown=("tasks",),
        ),
        Case(
            "memory-idle",
            "Memory of 20 idle workers",
            "The sum of the proportional set sizes (memory shared by n processes counts one nth in each) "
            "of all processes, the parent and helpers included, when 20 workers have each run tasks and "
            "have been idle for half a second. The tasks come from a module that holds nothing, or from "
            "one that holds 40 MB, which the parent has imported in every case and the tasks do "
            "not touch.",
            "tasks from",
            (Figure("pss", "proportional set size, MB", LOWER),),
            _memory_idle,
        ),
        Case(
            "start",
            "Time to the first result",
            "Two workers; from the construction of the executor to the result of its first task, in a fresh "
            "interpreter that has imported the package. Further blocks: the median of 20 that follow the "
            "first one in the same process, each from its construction to its first result; for "
            "loky, each calls `get_reusable_executor` again and leaves the workers as they are.",
            "result of",
            (Figure("ms", "milliseconds", LOWER, 1),),
            _start,
        ),
        Case(
            "memory-over-time",
            "Memory of a parent that makes tasks faster than they are done",
            "60,000 tasks with 4 KB of input each are submitted as fast as the executor takes them, and "
            "their futures dropped; the tasks return the length of their input. 20 workers, warmed up with "
            "40 tasks. Sampled every 50 ms is the resident memory of the parent alone. Here the peer has no "
            "bound: this is the case that the bound is for.",
            "",
            (
                Figure("peak", "peak of the parent's memory, MB", LOWER, 1),
                Figure("seconds", "seconds until all tasks were done", LOWER, 1),
            ),
            _memory_over_time,
            limit=180.0,
        ),
    )
}
